"""A block: up to 65,536 of one user's behaviours, column by column, checksummed as a whole.

     0      4      8       12     16     24        32       40      48        52        56
    +------+------+-------+------+------+---------+--------+-------+---------+---------+- - - - - - - - - -
    | SVB1 | crc  | bytes | rows | user | first_s | last_s | start | schema  | columns | heads  | columns
    |      | u32  | u32   | u32  | u64  | i64     | i64    | u64   | u32     | u32     | 20 each| | zeros
    +------+------+-------+------+------+---------+--------+-------+---------+---------+- - - - - - - - - -

`crc` is the CRC-32 of every byte behind it; `bytes` is the whole block, a multiple of 8; `start` is the
rank of the first row in the user's history. Lengths in the heads let a read decode the columns it wants and
no others."""

import struct
import zlib
from typing import NamedTuple

import numpy as np

from seqvault.errors import DamagedDataError
from seqvault.schema import Array, HistorySchema
from seqvault.vault.format.format1_codec import HEAD_FORMAT, ColumnHead, decode

__all__ = ["Block", "decode_block"]

_MAGIC = b"SVB1"
_HEAD = struct.Struct("<4sIIIQqqQII")
_CHECKED_FROM = 8
_COLUMN_BYTES = struct.calcsize("<" + HEAD_FORMAT)


class Block(NamedTuple):
    """Where a block lies, and what a read must know before it fetches it: an entry of the index."""

    segment: int
    offset: int
    size: int
    rows: int
    user: int
    first_s: int
    last_s: int
    start: int


def decode_block(schema: HistorySchema, fingerprint: int, data: bytes, block: Block) -> dict[str, Array]:
    """Every column of a block.

    Args:
        fingerprint: the schema's in the store.
        data: the block's bytes.
        block: what the footer says of it.

    Raises:
        DamagedDataError: the checksum fails, or the block is not the one the footer lists.
    """
    magic, checksum, *fields, count = _HEAD.unpack_from(data)
    expected = [block.size, block.rows, block.user, block.first_s, block.last_s, block.start, fingerprint]
    if magic != _MAGIC or zlib.crc32(memoryview(data)[_CHECKED_FROM:]) != checksum or fields != expected:
        raise DamagedDataError(
            f"block of user {block.user} at byte {block.offset}: it fails its checksum, or is not the one "
            "the footer lists; restore the file from backup"
        )
    heads = [
        ColumnHead(*struct.unpack_from("<" + HEAD_FORMAT, data, _HEAD.size + i * _COLUMN_BYTES))
        for i in range(count)
    ]
    columns: dict[str, Array] = {}
    at = _HEAD.size + count * _COLUMN_BYTES
    for column, head in zip(schema.columns, heads, strict=True):
        dtype = np.dtype(column.dtype)
        columns[column.name] = decode(head, data, at, block.rows, 0, block.last_s, dtype)
        at += head.size
    return columns
