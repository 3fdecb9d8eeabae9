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
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from seqvault.errors import DamagedDataError
from seqvault.schema import Array, HistorySchema
from seqvault.vault.format1_codec import HEAD_FORMAT, SLACK_BYTES, ColumnHead, decode, encode

__all__ = ["MAX_ROWS", "Block", "decode_block", "encode_block", "fingerprint"]

# Positions inside a block are two bytes.
MAX_ROWS = 1 << 16

_MAGIC = b"SVB1"
_HEAD = struct.Struct("<4sIIIQqqQII")
_CHECKED_FROM = 8
_COLUMN_FIELDS = 6


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


@lru_cache
def fingerprint(schema: HistorySchema) -> int:
    """A schema as 32 bits: bytes written under another one are refused."""
    return zlib.crc32(repr(schema.to_dict()).encode())


@lru_cache
def _heads(columns: int) -> struct.Struct:
    return struct.Struct("<" + HEAD_FORMAT * columns)


@lru_cache
def _plan(schema: HistorySchema, names: tuple[str, ...]) -> tuple[tuple[int, str, np.dtype[np.generic]], ...]:
    """(place in the schema, name, dtype) of each column to decode."""
    return tuple((schema.names.index(name), name, schema.dtype(name)) for name in names)


def encode_block(schema: HistorySchema, user: int, start: int, columns: Mapping[str, Array]) -> bytes:
    """The bytes of one block from columns sorted by time, 1 to MAX_ROWS rows."""
    times = columns["time_s"]
    heads, parts = [], []
    for i, name in enumerate(schema.names):
        head, data = encode(columns[name], times=i == 0)
        heads.append(head.pack())
        parts.append(data)
    body = b"".join(heads + parts)
    size = -(-(_HEAD.size + len(body) + SLACK_BYTES) // 8) * 8
    fields = (size, len(times), user, int(times[0]), int(times[-1]), start, fingerprint(schema), len(heads))
    block = bytearray(size)
    _HEAD.pack_into(block, 0, _MAGIC, 0, *fields)
    block[_HEAD.size : _HEAD.size + len(body)] = body
    struct.pack_into("<I", block, 4, zlib.crc32(memoryview(block)[_CHECKED_FROM:]))
    return bytes(block)


def decode_block(
    schema: HistorySchema, data: bytes, at: int, block: Block, names: tuple[str, ...], first: int
) -> list[Array]:
    """Rows first.. of the named columns of the block that begins at byte `at`; perhaps read-only views.

    Raises:
        DamagedDataError: the checksum fails, or the block is not the one the index expects.
    """
    magic, checksum, size, rows, user, first_s, last_s, start, schema_id, count = _HEAD.unpack_from(data, at)
    found = zlib.crc32(memoryview(data)[at + _CHECKED_FROM : at + block.size])
    if magic != _MAGIC or found != checksum:
        raise DamagedDataError(
            f"block of user {block.user} at byte {block.offset} of segment {block.segment}: checksum "
            f"{found:#010x}, expected {checksum:#010x}; restore the file from backup, other blocks are intact"
        )
    expected = (block.size, block.rows, block.user, block.first_s, block.last_s, block.start)
    if (size, rows, user, first_s, last_s, start) != expected or (schema_id, count) != (
        fingerprint(schema),
        len(schema.columns),
    ):
        raise DamagedDataError(
            f"segment {block.segment}, byte {block.offset}: found user {user}, rows {start} + {rows}; not "
            f"user {block.user}, rows {block.start} + {block.rows}; restore the file from backup"
        )
    fields = _heads(count).unpack_from(data, at + _HEAD.size)
    starts = [at + _HEAD.size + _heads(count).size]
    for size in fields[_COLUMN_FIELDS - 1 :: _COLUMN_FIELDS]:
        starts.append(starts[-1] + size)
    columns = []
    for i, _, dtype in _plan(schema, names):
        head = ColumnHead(*fields[i * _COLUMN_FIELDS : (i + 1) * _COLUMN_FIELDS])
        columns.append(decode(head, data, starts[i], rows, first, last_s, dtype))
    return columns
