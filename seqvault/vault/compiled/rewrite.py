"""Blocks as sealing and compaction need them: many at once into rows, rows into many, and verified copies."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from seqvault.schema import Array, HistorySchema
from seqvault.vault.compiled.refusals import Segments, refuse
from seqvault.vault.compiled.shared_rows import fetch_shared
from seqvault.vault.format import tiers
from seqvault.vault.format.block import OWN, decode_block_plain, encode_blocks_plain, read_header
from seqvault.vault.format.damage import NOT_EXPECTED, BlockDamage, damage
from seqvault.vault.format.entries import is_shared

__all__ = ["Blocks", "PlainBlocks", "empty_columns"]

# Read at once at most, unless one block is larger.
READ_BYTES = 1 << 22


class Blocks(Protocol):
    """Compiled, or plain with the same results. Blocks are entries.BLOCK, their slots in `segments`.

    Methods that read raise DamagedDataError, naming file, byte and user, for what fails its checksum.
    """

    def encode(
        self,
        schema: HistorySchema,
        users: Array,
        starts: Array,
        bounds: Array,
        columns: Mapping[str, Array],
        *,
        schema_id: int | None = None,
    ) -> tuple[Array, Array]:
        """(bytes, offsets (K+1,)) of K blocks; block k is of users[k], its rows bounds[k]..bounds[k+1].

        Args:
            schema_id: id to name in the blocks; None for the schema's own.
        """
        ...

    def kept(self, bounds: Array, blocks: Array, new_rows: Array, first_s: Array, full: int) -> Array:
        """See tiers.kept_blocks; user i's blocks are blocks[bounds[i]:bounds[i+1]]."""
        ...

    def cut(self, totals: Array, full: int, old: int) -> tuple[Array, Array]:
        """See tiers.cut_blocks."""
        ...

    def fetch(
        self, segments: Segments, versions: Sequence[HistorySchema], blocks: Array, places: Array, rows: int
    ) -> dict[str, Array]:
        """Columns of `rows` rows, each block's from places[k] on and the rest undefined.

        Columns are those of the newest version, with its defaults where a block's version has none.
        """
        ...

    def copies(self, segments: Segments, blocks: Array) -> Iterator[tuple[Array, Array]]:
        """(bytes, BLOCK) of verified blocks, none of them shared, in order, some at a time."""
        ...


def empty_columns(schema: HistorySchema, rows: int) -> tuple[Array, Array, dict[str, Array]]:
    """One buffer for all columns: the buffer, each column's place in it, and the columns as views."""
    widths = [schema.dtype(name).itemsize for name in schema.names]
    places = np.cumsum([0, *(-(-rows * width // 8) * 8 for width in widths)])
    buffer = np.empty(int(places[-1]), "u1")
    views = {
        name: buffer[at : at + rows * width].view(schema.dtype(name))
        for name, at, width in zip(schema.names, places.tolist(), widths, strict=False)
    }
    return buffer, places[:-1], views


class PlainBlocks:
    """Blocks in numpy alone.

    Args:
        codec: how blocks are encoded.
    """

    def __init__(self, codec: str) -> None:
        self._codec = codec

    def encode(
        self,
        schema: HistorySchema,
        users: Array,
        starts: Array,
        bounds: Array,
        columns: Mapping[str, Array],
        *,
        schema_id: int | None = None,
    ) -> tuple[Array, Array]:
        """See Blocks.encode."""
        return encode_blocks_plain(
            schema, users, starts, bounds, columns, schema_id=schema_id, codec=self._codec
        )

    def kept(self, bounds: Array, blocks: Array, new_rows: Array, first_s: Array, full: int) -> Array:
        """See Blocks.kept."""
        return tiers.kept_blocks(bounds, *tiers.columns(blocks), new_rows, first_s, full)

    def cut(self, totals: Array, full: int, old: int) -> tuple[Array, Array]:
        """See Blocks.cut."""
        return tiers.cut_blocks(totals, full, old)

    def fetch(
        self, segments: Segments, versions: Sequence[HistorySchema], blocks: Array, places: Array, rows: int
    ) -> dict[str, Array]:
        """See Blocks.fetch."""
        newest = versions[-1]
        by_id = {version.id: version for version in versions}
        _, _, columns = empty_columns(newest, rows)
        shared = is_shared(blocks)
        for block, place in zip(blocks[~shared], places[~shared].tolist(), strict=True):
            data, schema_id = _verified(segments, block)
            written = by_id.get(schema_id)
            if written is None:
                refuse(segments, block, damage(NOT_EXPECTED))
            stored = [name for name in newest.names if name in written.names]
            count = int(block["rows"])
            try:
                decoded = decode_block_plain(written, data, 0, 0, count, stored)
            except BlockDamage as error:
                refuse(segments, block, damage(error.code))
            for column in newest.columns:
                columns[column.name][place : place + count] = decoded.get(column.name, column.default)
        fetch_shared(segments, versions, blocks[shared], places[shared], columns, plain=True)
        return columns

    def copies(self, segments: Segments, blocks: Array) -> Iterator[tuple[Array, Array]]:
        """See Blocks.copies."""
        for k in range(len(blocks)):
            yield _verified(segments, blocks[k])[0], blocks[k : k + 1]


def _verified(segments: Segments, block: Array) -> tuple[Array, int]:
    """Bytes of a block, verified and as the index expects it, and the id of its schema."""
    data = np.frombuffer(
        bytearray(segments[int(block["slot"])].read(int(block["offset"]), int(block["size"]))), "u1"
    )
    try:
        header = read_header(data, 0, len(data))
    except BlockDamage as error:
        refuse(segments, block, damage(error.code))
    for name in ("user", "start", "first_s", "last_s", "rows"):
        if getattr(header, name) != int(block[name]):
            refuse(segments, block, damage(NOT_EXPECTED))
    if header.kind != OWN:
        refuse(segments, block, damage(NOT_EXPECTED))
    return data, header.schema_id
