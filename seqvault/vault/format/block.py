"""A block: up to 65,536 behaviours, of one user or shared, column by column, checksummed as a whole.

     0      4       8       16     24      32        40       48     52        56        60           64
    +------+-------+-------+------+-------+---------+--------+------+---------+---------+------------+- - - -
    | SVB2 | bytes | hash  | user | start | first_s | last_s | rows | schema  | columns | kind       | sizes,
    |      | u32   | u64   | u64  | u64   | i64     | i64    | u32  | u32     | u32     | u32        | columns
    +------+-------+-------+------+-------+---------+--------+------+---------+---------+------------+- - - -

`hash` is hash64 of bytes 16 to the end, its seed the first 8 bytes; `bytes` is the whole block, a multiple of
8; `start` is the rank of the first row in the user's history; `schema` is the id of the schema the block was
written under; `kind` is 0 for one user's rows, 1 for those of users who share the block (shared.py), 2 for a
footer's entries (footer.py). A u32 size for each column follows, then the columns (codec.py), then zeros.

This module is the numpy twin: kernels/decode.py and kernels/encode.py read and write the same bytes.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from seqvault.schema import Array, HistorySchema
from seqvault.vault.format.codec import (
    DICT,
    Candidate,
    Coded,
    Source,
    best,
    derived,
    read_coded,
    read_column,
    section,
)
from seqvault.vault.format.damage import (
    BAD_CALL,
    BAD_COLUMN,
    BAD_HASH,
    BAD_MAGIC,
    BAD_SIZE,
    BlockDamage,
)
from seqvault.vault.format.hash64 import hash64
from seqvault.vault.format.words import Words, words_of
from seqvault.vault.format.zstd import PlainPlanes

__all__ = [
    "ENTRIES",
    "MAGIC",
    "MAX_ROWS",
    "OWN",
    "SHARED",
    "BlockHeader",
    "decode_block_plain",
    "decode_columns_plain",
    "encode_blocks_plain",
    "id_of_kind",
    "plan_columns",
    "read_header",
]

# Ranks and positions inside a block are two bytes.
MAX_ROWS = 1 << 16
MAX_COLUMNS = 64
OWN, SHARED, ENTRIES = 0, 1, 2
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
    kind: int


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
    writer = _Writer(schema, schema.id if schema_id is None else schema_id, codec == "zstd")
    blocks = []
    for k in range(len(users)):
        rows = slice(int(bounds[k]), int(bounds[k + 1]))
        of_block = [columns[name][rows] for name in schema.names]
        blocks.append(writer.block(int(users[k]), int(starts[k]), of_block))
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
    magic, length, found, *fields = HEAD.unpack(data[at : at + HEAD.size].tobytes())
    if magic != MAGIC:
        raise BlockDamage(BAD_MAGIC)
    if length % 8 or length < HEAD.size or length > len(data) - at or size not in (None, length):
        raise BlockDamage(BAD_SIZE)
    seed = int.from_bytes(bytes(data[at : at + 8]), "little")
    if hash64(data[at + 16 : at + length], seed) != found:
        raise BlockDamage(BAD_HASH)
    return BlockHeader(length, *fields)


def decode_block_plain(
    schema: HistorySchema,
    data: Array,
    at: int,
    first: int,
    last: int,
    names: Sequence[str],
) -> dict[str, Array]:
    """Rows first..last-1 of the named columns of the block at byte `at`, in their dtypes.

    Args:
        schema: the schema the block was written under.

    Raises:
        BlockDamage: the block fails its checksum, contradicts itself, or lacks these rows or columns.
    """
    header = read_header(data, at)
    places = [(schema.names.index(name), schema.dtype(name)) for name in names]
    found = decode_columns_plain(header, data[at : at + header.size], (first, last), places)
    return dict(zip(names, found, strict=True))


def decode_columns_plain(
    header: BlockHeader, block: Array, rows: tuple[int, int], places: Sequence[tuple[int, DTypeLike]]
) -> list[Array]:
    """Rows (first, behind the last) of some columns of a block.

    Args:
        header, block: as read_header found it, and its bytes.
        places: position of each column, and its dtype.

    Raises:
        BlockDamage: the block contradicts itself, or lacks these rows or columns.
    """
    if not 0 < header.rows <= MAX_ROWS or header.columns > MAX_COLUMNS or header.kind > ENTRIES:
        raise BlockDamage(BAD_COLUMN)
    if not 0 <= rows[0] <= rows[1] <= header.rows:
        raise BlockDamage(BAD_CALL)
    sections = _Sections(block, header, (header.rows, *rows))
    return [sections.values(column).astype(dtype) for column, dtype in places]


def id_of_kind(schema_id: int, kind: int) -> int:
    """What the encoders take as the id of the schema of blocks of a kind."""
    return schema_id | kind << 32


class _Sections:
    """The columns of one verified block, some of its rows."""

    def __init__(self, block: Array, header: BlockHeader, rows: tuple[int, int, int]) -> None:
        self._block = block
        self._rows = rows
        self._source = Source(header.last_s, self._coded, PlainPlanes())
        begin = HEAD.size + 4 * header.columns
        if begin > len(block):
            raise BlockDamage(BAD_COLUMN)
        sizes = np.frombuffer(block[HEAD.size : begin].tobytes(), "<u4")
        self._places = begin + np.cumsum(np.concatenate([[0], sizes]), dtype="i8")

    def values(self, column: int) -> Array:
        return read_column(self._words(column), self._rows, self._source)

    def _coded(self, column: int, first: int, last: int) -> Coded:
        return read_coded(self._words(column), (self._rows[0], first, last), self._source)

    def _words(self, column: int) -> Words:
        if column >= len(self._places) - 1:
            raise BlockDamage(BAD_COLUMN)
        begin, end = int(self._places[column]), int(self._places[column + 1])
        if (begin | end) % 2 or end > len(self._block):
            raise BlockDamage(BAD_COLUMN)
        return Words(np.frombuffer(self._block[begin:end].tobytes(), "<u2"))


class _Writer:
    """Writes blocks of one schema."""

    def __init__(self, schema: HistorySchema, schema_id: int, compressed: bool) -> None:
        self._schema = schema
        self._schema_id = schema_id
        self._planes = PlainPlanes() if compressed else None

    def block(self, user: int, start: int, columns: Sequence[Array]) -> bytes:
        """The bytes of one block."""
        times = columns[0]
        first_s, last_s = int(times[0]), int(times[-1])
        chosen = plan_columns(self._schema, columns)
        sections = [section(found, i, last_s, self._planes).tobytes() for i, found in enumerate(chosen)]
        body = struct.pack(f"<{len(sections)}I", *map(len, sections)) + b"".join(sections)
        body += b"\0" * (-len(body) % 8)
        seed = MAGIC + struct.pack("<I", HEAD.size + len(body))
        fields = (
            user,
            start,
            first_s,
            last_s,
            len(times),
            self._schema_id & 0xFFFFFFFF,
            len(sections),
            self._schema_id >> 32,
        )
        body = HEAD.pack(b"", 0, 0, *fields)[16:] + body
        return seed + struct.pack("<Q", hash64(body, int.from_bytes(seed, "little"))) + body


def plan_columns(schema: HistorySchema, columns: Sequence[Array]) -> list[Candidate]:
    """The cheapest way for each column of a block: on its own, or from one dictionary's ranks."""
    hints = [column.codec for column in schema.columns]
    values = [words_of(column) for column in columns]
    signed = [column.dtype.kind == "i" for column in columns]
    found = [best(values[i], signed[i], hints[i], i == 0) for i in range(len(values))]
    entries = [len(c.streams[0]) if c.codec == DICT else 0 for c in found]
    parent = int(np.argmax(entries))
    if found[parent].codec != DICT:
        return found
    ranks, distinct = found[parent].streams[1].astype("i8"), len(found[parent].streams[0])
    for i in range(1, len(found)):
        if i == parent or hints[i] != "auto":
            continue
        other = None
        if 1 < distinct < len(ranks):
            other = derived(values[i], signed[i], parent, ranks, distinct)
        if other is not None and other.bits < found[i].bits:
            found[i] = other
    return found
