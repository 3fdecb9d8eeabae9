"""A user's rows of one fetched block: whether they are there, and which of the block's rows they are."""

import numpy as np

from seqvault.vault.format.block import HEAD, MAX_ROWS
from seqvault.vault.format.damage import BAD_COLUMN, NOT_EXPECTED, OK
from seqvault.vault.kernels.compiled import inner, symbol
from seqvault.vault.kernels.decode import decode_rows, verify_block, verify_shared
from seqvault.vault.kernels.reads import contexts as c
from seqvault.vault.kernels.reads.search import first_at_least
from seqvault.vault.kernels.views import address_in, bytes_at, view8

__all__ = ["decode", "verify"]

_U0, _U1, _U4, _U8 = (np.uint64(i) for i in (0, 1, 4, 8))
_LOW32 = np.uint64(0xFFFFFFFF)
_HEAD_WORDS = np.uint64(HEAD.size // 8)
# Words of a block's header.
_ROWS, _COLUMNS = np.uint64(6), np.uint64(7)
_MAX_ROWS = np.uint64(MAX_ROWS)


@symbol("i8(u8, u8, u8, u8)")
def _decode_at(thread, data, block, wanted):  # type: ignore[no-untyped-def]
    """decode_rows, its arguments by address: what calls it is compiled without it."""
    own = view8(thread, c.THREAD_WORDS)
    work, decoder = bytes_at(own[c.WORK], own[c.WORK_SIZE]), own[c.DECODER]
    call = own[c.CALL :]
    at, first, last, count, row = call[0], call[1], call[2], call[3], call[6]
    size = view8(block, c.SLOT)[c.SIZE]
    outputs = view8(wanted, count * _U4).reshape((count, _U4))
    out = bytes_at(call[4], call[5])
    return decode_rows(bytes_at(data, at + size), at, size, first, last, outputs, out, row, work, decoder)


@inner
def decode(thread, data, at, block, rows, wanted, out, row):  # type: ignore[no-untyped-def]
    """Rows (first, last) of a user's in a block, its wanted columns into rows row.. of `out`."""
    call = thread[c.CALL :]
    base = block[c.BASE]
    call[0], call[1], call[2], call[3] = at, base + rows[0], base + rows[1], np.uint64(len(wanted))
    call[4], call[5], call[6] = address_in(out), np.uint64(out.size), row
    return _decode_at(
        address_in(thread),
        address_in(data),
        address_in(block),
        address_in(wanted),
    )


@inner
def _decode8(thread, data, at, block, rows, column, out, row):  # type: ignore[no-untyped-def]
    """Rows (first, last) of one column of eight bytes into rows row.. of `out`, (R,) u8."""
    wanted = np.empty((_U1, _U4), np.uint64)
    wanted[0, 0], wanted[0, 1], wanted[0, 2], wanted[0, 3] = column, _U8, _U0, _U0
    memory = bytes_at(address_in(out), _U8 * np.uint64(out.size))
    return decode(thread, data, at, block, rows, wanted, memory, row)


@inner
def _find(thread, data, at, user, block):  # type: ignore[no-untyped-def]
    """Find a user in a verified shared block: sets BASE. OK, or a code where index and block disagree."""
    head = view8(address_in(data) + at, _HEAD_WORDS)
    held, rows, last_column = head[_ROWS] & _LOW32, block[c.ROWS], (head[_COLUMNS] & _LOW32) - _U1
    if held > _MAX_ROWS:
        return np.int64(BAD_COLUMN)
    users = np.empty(held, np.uint64)
    code = _decode8(thread, data, at, block, (_U0, held), last_column, users, _U0)
    if code != OK:
        return code
    first = first_at_least(users, user)
    last = first + rows - _U1
    if last >= held or users[first] != user or users[last] != user:
        return np.int64(NOT_EXPECTED)
    if last + _U1 < held and users[last + _U1] == user:
        return np.int64(NOT_EXPECTED)
    times = np.empty(2, np.uint64)
    code = _decode8(thread, data, at, block, (first, first + _U1), _U0, times, _U0)
    if code == OK:
        code = _decode8(thread, data, at, block, (last, last + _U1), _U0, times, _U1)
    if code != OK:
        return code
    if times[0] != block[c.FIRST_S] or times[1] != block[c.LAST_S]:
        return np.int64(NOT_EXPECTED)
    block[c.BASE] = first
    return np.int64(OK)


@inner
def verify(thread, data, at, user, block):  # type: ignore[no-untyped-def]
    """Whether a fetched block is intact and holds what the index says: OK or a code."""
    if block[c.SHARED]:
        code = verify_shared(data, at, block[c.SIZE])
        return _find(thread, data, at, user, block) if code == OK else np.int64(code)
    first_s, last_s = np.int64(block[c.FIRST_S]), np.int64(block[c.LAST_S])
    return np.int64(
        verify_block(data, at, block[c.SIZE], user, block[c.START], block[c.ROWS], first_s, last_s)
    )
