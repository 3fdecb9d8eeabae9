"""Whole blocks back into rows, for sealing and compaction: one call for many blocks of many users."""

from typing import Any

import numpy as np
from numba import types

from seqvault.vault.format.damage import NOT_EXPECTED, OK
from seqvault.vault.kernels.compiled import inner, kernel
from seqvault.vault.kernels.decode import block_schema, decode_rows, verify_block
from seqvault.vault.kernels.views import address_in

__all__ = ["CANNOT_READ", "fetch_blocks", "verify_blocks"]

# Besides the codes of damage.py: the file ends before the block does, or does not read.
CANNOT_READ = 100

_pread: Any = types.ExternalFunction(
    "pread", types.int64(types.int32, types.uint64, types.uint64, types.int64)
)


@inner
def _read(fd, address, size, offset):  # type: ignore[no-untyped-def]
    """Whether all bytes came."""
    done = np.uint64(0)
    while done < size:
        got = _pread(np.int32(fd), address + done, size - done, np.int64(offset + done))
        if got <= 0:
            return False
        done += np.uint64(got)
    return True


@inner
def _together(blocks, fds, k, room):  # type: ignore[no-untyped-def]
    """How many blocks from the k-th on lie side by side and fit into `room` bytes; and their bytes."""
    n, total = 0, np.uint64(0)
    while k + n < len(fds) and fds[k + n] == fds[k] and blocks[k + n, 4] == blocks[k, 4] + total:
        size = blocks[k + n, 5] & np.uint64(0xFFFFFFFF)
        if total + size > room:
            break
        total += size
        n += 1
    return n, total


@inner
def _verify(data, at, block):  # type: ignore[no-untyped-def]
    """verify_block of an entry in words."""
    size, rows = block[5] & np.uint64(0xFFFFFFFF), block[5] >> np.uint64(32)
    return verify_block(data, at, size, block[0], block[1], rows, np.int64(block[2]), np.int64(block[3]))


@kernel("UniTuple(i8, 2)(u8[:, ::1], i8[::1], u1[::1])")
def verify_blocks(blocks, fds, data):  # type: ignore[no-untyped-def]
    """Read blocks side by side into `data`, as many as fit, and verify each: (how many, code of the next).

    Args:
        blocks: (K, 6): the words of their entries (entries.ENTRY).
        fds: (K,) descriptors of their files.
    """
    count, total = _together(blocks, fds, 0, np.uint64(data.size))
    if not _read(fds[0], address_in(data), total, blocks[0, 4]):
        return 0, CANNOT_READ
    at = np.uint64(0)
    for k in range(count):
        code = _verify(data, at, blocks[k])
        if code != OK:
            return k, code
        at += blocks[k, 5] & np.uint64(0xFFFFFFFF)
    return count, OK


@kernel(
    "UniTuple(i8, 2)(u8[:, ::1], i8[::1], u8[::1], u8[:, :, ::1], u1[::1], u8[::1], u1[::1], u1[::1], u8)"
)
def fetch_blocks(blocks, fds, schemas, wanted, out, places, data, work, context):  # type: ignore[no-untyped-def]
    """Read, verify and decode every row of blocks: (how many, code of the next).

    Args:
        blocks, fds: as in verify_blocks.
        schemas: (S,) ids of the schemas that blocks may have.
        wanted: (S, P, 4): what decode_rows is to decode of a block of each schema.
        out: the output columns.
        places: (K,) output row of each block's first row.
        data: room for the largest block.
        work, context: see scratch.Scratch.
    """
    k = 0
    while k < len(fds):
        count, total = _together(blocks, fds, k, np.uint64(data.size))
        if count == 0 or not _read(fds[k], address_in(data), total, blocks[k, 4]):
            return k, CANNOT_READ
        at = np.uint64(0)
        for i in range(k, k + count):
            code = _verify(data, at, blocks[i])
            if code != OK:
                return i, code
            known = -1
            for s in range(len(schemas)):
                if schemas[s] == block_schema(data, at):
                    known = s
            if known < 0:
                return i, NOT_EXPECTED
            size, rows = blocks[i, 5] & np.uint64(0xFFFFFFFF), blocks[i, 5] >> np.uint64(32)
            code = decode_rows(
                data, at, size, np.uint64(0), rows, wanted[known], out, places[i], work, context
            )
            if code != OK:
                return i, code
            at += size
        k += count
    return k, OK
