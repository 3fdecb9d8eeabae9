"""A block: up to 65,536 of one user's behaviours, column by column, checksummed as a whole.

     0      4       8       16     24      32        40       48     52        56        60           64
    +------+-------+-------+------+-------+---------+--------+------+---------+---------+------------+- - - -
    | SVB2 | bytes | hash  | user | start | first_s | last_s | rows | schema  | columns | dictionary | sizes,
    |      | u32   | u64   | u64  | u64   | i64     | i64    | u32  | u32     | u32     | u32, 0 none| columns
    +------+-------+-------+------+-------+---------+--------+------+---------+---------+------------+- - - -

`hash` is hash64 of bytes 16 to the end, its seed the first 8 bytes; `bytes` is the whole block, a multiple of 8;
`start` is the rank of the first row in the user's history; `schema` is the id of the schema the block was
written under. A u32 size for each column follows, then the columns (codec.py), then zeros.

This module is the numpy twin: kernels/decode.py and kernels/encode.py read and write the same bytes.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from seqvault.schema import Array, HistorySchema
from seqvault.vault.codec import (
    DICT,
    Candidate,
    Ranks,
    best,
    derived,
    read_column,
    read_ranks,
    section,
    words_of,
)
from seqvault.vault.damage import (
    BAD_CALL,
    BAD_COLUMN,
    BAD_HASH,
    BAD_MAGIC,
    BAD_SIZE,
    BlockDamage,
)
from seqvault.vault.hash64 import hash64
from seqvault.vault.patched import BytePlanes
from seqvault.vault.words import Words
from seqvault.vault.zstd import PlainPlanes

__all__ = ["MAGIC", "MAX_ROWS", "BlockHeader", "decode_block_plain", "encode_blocks_plain", "read_header"]

# Ranks and positions inside a block are two bytes.
MAX_ROWS = 1 << 16
MAGIC = b"SVB2"
HEAD = struct.Struct("<4sIQQQqqIIII")


class BlockHeader(NamedTuple):
    """What a block says of itself, in the order of its header."""

    size: int
    user: int
    start: int
    first_s: int
    last_s: int
    rows: int
    schema_id: int
    columns: int
    dictionary_id: int


def encode_blocks_plain(
    schema: HistorySchema,
    users: Array,
    starts: Array,
    bounds: Array,
    columns: Mapping[str, Array],
    *,
    schema_id: int | None = None,
    codec: str = "packed",
) -> tuple[Array, Array]:
    """Many blocks, one behind the other; see `encode.encode_blocks`, which writes the same bytes."""
    planes = PlainPlanes() if codec == "zstd" else None
    blocks = []
    for k in range(len(users)):
        rows = slice(int(bounds[k]), int(bounds[k + 1]))
        of_block = [columns[name][rows] for name in schema.names]
        blocks.append(_encode(schema, int(users[k]), int(starts[k]), of_block, schema_id, planes))
    offsets = np.cumsum([0, *map(len, blocks)], dtype="i8")
    return np.frombuffer(b"".join(blocks), "u1").copy(), offsets


def read_header(data: Array, at: int = 0, size: int | None = None) -> BlockHeader:
    """The header of the block at byte `at`, after its checksum was verified.

    Args:
        size: bytes the block must have; None for what it says.

    Raises:
        BlockDamage: it is no intact block.
    """
    if at < 0 or len(data) - at < HEAD.size:
        raise BlockDamage(BAD_SIZE)
    magic, length, found, *fields = HEAD.unpack_from(data, at)
    if magic != MAGIC:
        raise BlockDamage(BAD_MAGIC)
    if length % 8 or length < HEAD.size or length > len(data) - at or size not in (None, length):
        raise BlockDamage(BAD_SIZE)
    seed = int.from_bytes(bytes(data[at : at + 8]), "little")
    if hash64(data[at + 16 : at + length], seed) != found:
        raise BlockDamage(BAD_HASH)
    user, start, first_s, last_s, rows, schema_id, columns, dictionary_id = fields
    return BlockHeader(length, user, start, first_s, last_s, rows, schema_id, columns, dictionary_id)


def decode_block_plain(
    schema: HistorySchema, data: Array, at: int, first: int, last: int, names: Sequence[str]
) -> dict[str, Array]:
    """Rows first..last-1 of the named columns of the block at byte `at`, in their dtypes.

    Args:
        schema: the schema the block was written under.

    Raises:
        BlockDamage: the block fails its checksum, contradicts itself, or lacks these rows or columns.
    """
    header = read_header(data, at)
    if not 0 < header.rows <= MAX_ROWS:
        raise BlockDamage(BAD_COLUMN)
    if not 0 <= first <= last <= header.rows:
        raise BlockDamage(BAD_CALL)
    sections = _Sections(data[at : at + header.size], header, first, last)
    found = {}
    for name in names:
        values = sections.values(schema.names.index(name))
        found[name] = values.astype(schema.dtype(name))
    return found


class _Sections:
    """The columns of one verified block, rows first..last-1."""

    def __init__(self, block: Array, header: BlockHeader, first: int, last: int) -> None:
        self._block = block
        self._header = header
        self._rows = (header.rows, first, last)
        self._planes = PlainPlanes()
        begin = HEAD.size + 4 * header.columns
        if begin > len(block):
            raise BlockDamage(BAD_COLUMN)
        sizes = np.frombuffer(block[HEAD.size : begin].tobytes(), "<u4")
        self._ends = begin + np.cumsum(sizes, dtype="u8").astype("i8")

    def values(self, column: int) -> Array:
        words = self._words(column)
        return read_column(words, column, self._rows, self._header.last_s, self._ranks, self._planes)

    def _ranks(self, column: int, first: int, last: int) -> Ranks:
        return read_ranks(self._words(column), column, (self._rows[0], first, last), self._planes)

    def _words(self, column: int) -> Words:
        if column >= len(self._ends):
            raise BlockDamage(BAD_COLUMN)
        begin = HEAD.size + 4 * len(self._ends) if column == 0 else int(self._ends[column - 1])
        end = int(self._ends[column])
        if end > len(self._block) or (end - begin) % 2 or begin % 2:
            raise BlockDamage(BAD_COLUMN)
        return Words(np.frombuffer(self._block[begin:end].tobytes(), "<u2"))


def _encode(
    schema: HistorySchema,
    user: int,
    start: int,
    columns: Sequence[Array],
    schema_id: int | None,
    planes: BytePlanes | None,
) -> bytes:
    times = columns[0]
    first_s, last_s = int(times[0]), int(times[-1])
    sections = [
        section(found, i, last_s, planes).tobytes() for i, found in enumerate(_choose(schema, columns))
    ]
    body = struct.pack(f"<{len(sections)}I", *map(len, sections)) + b"".join(sections)
    body += b"\0" * (-len(body) % 8)
    schema_id = schema.id if schema_id is None else schema_id
    seed = MAGIC + struct.pack("<I", HEAD.size + len(body))
    fields = (user, start, first_s, last_s, len(times), schema_id, len(sections), 0)
    body = HEAD.pack(b"", 0, 0, *fields)[16:] + body
    return seed + struct.pack("<Q", hash64(body, int.from_bytes(seed, "little"))) + body


def _choose(schema: HistorySchema, columns: Sequence[Array]) -> list[Candidate]:
    """The cheapest way for each column: first on its own, then as a function of the widest dictionary's."""
    values = [words_of(column) for column in columns]
    signed = [column.dtype.kind == "i" for column in columns]
    hints = [column.codec for column in schema.columns]
    found = [best(values[i], signed[i], hints[i], i == 0) for i in range(len(values))]
    entries = [len(c.streams[0]) if c.codec == DICT else 0 for c in found]
    parent = int(np.argmax(entries))
    if not 1 < entries[parent] < len(values[0]):
        return found
    ranks = found[parent].streams[1].astype("i8")
    for i in range(1, len(found)):
        if i == parent or hints[i] != "auto":
            continue
        other = derived(values[i], signed[i], parent, ranks, entries[parent])
        if other is not None and other.bits < found[i].bits:
            found[i] = other
    return found
