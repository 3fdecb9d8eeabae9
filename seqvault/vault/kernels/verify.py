"""Many blocks verified in one call: what checks read back, or look for, whole files."""

import numpy as np

from seqvault.vault.format.damage import BAD_SIZE, OK
from seqvault.vault.kernels.compiled import kernel
from seqvault.vault.kernels.decode import verify_block
from seqvault.vault.kernels.views import address_in, view8

__all__ = ["next_blocks", "verify_blocks"]

_U0, _U1, _U2, _U3, _U4, _U5, _U6, _U7, _U32 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 5, 6, 7, 32))
_LOW32 = np.uint64(0xFFFFFFFF)
_HEAD = np.uint64(64)


@kernel("void(u1[::1], u8, u8[:, ::1], u1[::1])")
def verify_blocks(data, base, entries, codes):  # type: ignore[no-untyped-def]
    """Verify blocks of a file.

    Args:
        data: bytes of the file from byte `base` on; its address and `base` multiples of 8.
        entries: (K, 6) ENTRY records as words.
        codes: (K,) what is wrong with each: OK or a code of damage.py.
    """
    for k in range(entries.shape[0]):
        i = np.uint64(k)
        place, size = entries[i, _U4], entries[i, _U5] & _LOW32
        if place < base:
            codes[i] = BAD_SIZE
            continue
        codes[i] = verify_block(
            data,
            place - base,
            size,
            entries[i, _U0],
            entries[i, _U1],
            entries[i, _U5] >> _U32,
            np.int64(entries[i, _U2]),
            np.int64(entries[i, _U3]),
        )


@kernel("u8(u1[::1], u8, u8[:, ::1])")
def next_blocks(data, base, entries):  # type: ignore[no-untyped-def]
    """The intact blocks that follow each other from the beginning of `data`, by their own headers.

    Args:
        data: bytes of a file from byte `base` on; its address and `base` multiples of 8.
        entries: (K, 6) filled with ENTRY records as words.

    Returns:
        how many there are, at most K: then there may be more behind them.
    """
    at, found = _U0, _U0
    length, most = np.uint64(data.size), np.uint64(entries.shape[0])
    while found < most and length - at >= _HEAD:
        head = view8(address_in(data) + at, _HEAD >> _U3)
        size = head[_U0] >> _U32
        user, start, first_s, last_s = head[_U2], head[_U3], head[_U4], head[_U5]
        rows = head[_U6] & _LOW32
        if verify_block(data, at, size, user, start, rows, np.int64(first_s), np.int64(last_s)) != OK:
            break
        entries[found, _U0], entries[found, _U1] = user, start
        entries[found, _U2], entries[found, _U3] = first_s, last_s
        entries[found, _U4], entries[found, _U5] = base + at, size | (rows << _U32)
        at += size
        found += _U1
    return found
