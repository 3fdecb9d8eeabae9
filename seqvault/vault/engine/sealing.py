"""Sealing: behaviours of the tails, and of a bulk load, become blocks of a new segment.

New behaviours of a user are written with the blocks that tiers.py says to rewrite: small ones, and those that
a late behaviour falls into, so that blocks fill up and never overlap in time. A history that is still small
is written whole, into a block that it shares with others (shared.py). The blocks this replaces stay behind as
dead bytes until compaction leaves them out."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from seqvault.schema import Array, HistorySchema
from seqvault.vault.compiled.rewrite import Blocks
from seqvault.vault.engine.table import Table
from seqvault.vault.format.block import SHARED, id_of_kind
from seqvault.vault.format.entries import ENTRY, SHARES, is_shared
from seqvault.vault.format.rows_by_user import Rows, cuts, in_time_order, join
from seqvault.vault.format.shared import SMALL_ROWS, USERS, groups, may_share, with_users
from seqvault.vault.sealed.segment_writer import SegmentWriter

__all__ = ["Sizes", "seal", "sizes_of", "write_blocks", "write_shared"]

# Rewritten at once: enough for the cost of a call to vanish, and little enough for its memory to stay with
# the process from one portion to the next.
_ROWS_AT_ONCE = 1 << 17


class Sizes(NamedTuple):
    """Rows of a full block, of one older than the newest full one, and of histories that share blocks."""

    full: int
    old: int
    small: int


def seal(writer: SegmentWriter, table: Table, blocks: Blocks, loaded: Rows | None, full: int) -> None:
    """Write the tails, and what is loaded beside them, with the stored behaviours that share their blocks.

    Args:
        full: rows of a full block.

    Raises:
        DamagedDataError: those stored ones fail their checksum.
    """
    sizes = sizes_of(full, full, full, table.schema)
    portions: Iterator[Rows]
    if loaded is None:
        portions = (Rows(*part) for part in table.tails.portions(_ROWS_AT_ONCE))
    else:
        portions = _portions(join(Rows(*table.tails.drain()), loaded))
    for new in portions:
        if not len(new.users):
            continue
        bounds, stored = table.index.find(new.users)
        firsts = np.ascontiguousarray(new.columns["time_s"][new.bounds[:-1]])
        kept = blocks.kept(bounds, stored, np.diff(new.bounds), firsts, sizes.full)
        kept[_whole(new, bounds, stored, sizes)] = 0
        merge = _merge_with(new, bounds, stored, kept)
        bounds, columns = _merged(table, blocks, merge)
        written = Rows(new.users, bounds, columns)
        write_blocks(writer, table.schema, blocks, written, merge.starts, kept == 0, sizes)


class Merge(NamedTuple):
    """What becomes the end of some users' histories: stored blocks, then new behaviours among them.

    Args:
        new: the new behaviours; users without any have equal bounds.
        starts: (U,) u8 rank of the first row written.
        bounds: (U+1,) i8 each user's stored blocks.
        stored: (K,) BLOCK.
    """

    new: Rows
    starts: Array
    bounds: Array
    stored: Array


def sizes_of(full: int, old: int, block_rows: int, schema: HistorySchema) -> Sizes:
    """The sizes of blocks of a schema.

    Args:
        block_rows: the store's option: no larger history shares a block.
    """
    return Sizes(full, old, min(SMALL_ROWS, block_rows) if may_share(schema) else 0)


def write_blocks(
    writer: SegmentWriter,
    schema: HistorySchema,
    blocks: Blocks,
    written: Rows,
    starts: Array,
    whole: Array,
    sizes: Sizes,
) -> None:
    """Cut each user's rows into blocks, encode and write them.

    Args:
        written: users with their rows; without any, they are left out.
        starts: (U,) u8 rank of each one's first row.
        whole: (U,) bool, whether all that is sealed of the user is there: then they may share a block.
    """
    lengths = np.diff(written.bounds)
    small = whole & (lengths <= sizes.small)
    own = written.of(~small)
    places, rows = blocks.cut(np.diff(own.bounds), sizes.full, sizes.old)
    if len(places):
        edges = np.concatenate(([0], np.cumsum(rows)))
        entries = np.zeros(len(places), ENTRY)
        entries["user"] = own.users[places]
        ranks = edges[:-1] - own.bounds[:-1][places]
        entries["start"] = starts[~small][places] + ranks.astype("u8")
        entries["first_s"] = own.columns["time_s"][edges[:-1]]
        entries["last_s"] = own.columns["time_s"][edges[1:] - 1]
        entries["rows"] = rows
        users, ranks = (np.ascontiguousarray(entries[name]) for name in ("user", "start"))
        data, offsets = blocks.encode(schema, users, ranks, edges, own.columns)
        entries["offset"], entries["size"] = offsets[:-1], np.diff(offsets)
        writer.add(data, entries)
    write_shared(writer, schema, blocks, written.of(small & (lengths > 0)))


def write_shared(writer: SegmentWriter, schema: HistorySchema, blocks: Blocks, written: Rows) -> None:
    """Encode and write small histories, whole, in blocks that they share; users sorted, each with rows."""
    if not len(written.users):
        return
    users, bounds, columns = written
    of_block = groups(bounds)
    edges, rows = bounds[of_block], np.diff(bounds)
    of_row = {**columns, USERS.name: np.repeat(users, rows)}
    first, nowhere = users[of_block[:-1]], np.zeros(len(of_block) - 1, "u8")
    data, offsets = blocks.encode(
        with_users(schema), first, nowhere, edges, of_row, schema_id=id_of_kind(schema.id, SHARED)
    )
    entries = np.zeros(len(users), ENTRY)
    entries["user"], entries["rows"] = users, rows
    entries["first_s"], entries["last_s"] = columns["time_s"][bounds[:-1]], columns["time_s"][bounds[1:] - 1]
    counts = np.diff(of_block)
    entries["offset"] = np.repeat(offsets[:-1], counts)
    entries["size"] = np.repeat(np.diff(offsets), counts) + SHARES
    writer.add(data, entries)


def _whole(new: Rows, bounds: Array, stored: Array, sizes: Sizes) -> Array:
    """(U,) bool: users all of whose stored rows are written again: those in shared blocks, and small ones."""
    before = np.concatenate(([0], np.cumsum(stored["rows"], dtype="i8")))
    shared = np.concatenate(([0], np.cumsum(is_shared(stored))))
    totals = np.diff(before[bounds]) + np.diff(new.bounds)
    again: Array = (totals <= sizes.small) | (np.diff(shared[bounds]) > 0)
    return again


def _portions(rows: Rows) -> Iterator[Rows]:
    """Some users at a time."""
    edges = [0, *cuts(rows.bounds[1:], _ROWS_AT_ONCE).tolist(), len(rows.users)]
    return (rows.part(start, end) for start, end in pairwise(edges))


def _merge_with(new: Rows, bounds: Array, stored: Array, kept: Array) -> Merge:
    """Leave out the blocks that stay, and find each user's first rank behind them."""
    counts = np.diff(bounds)
    starts = np.zeros(len(new.users), "u8")
    # Behind the last block that stays; in place of the first where none does.
    after = kept > 0
    last = bounds[:-1][after] + kept[after] - 1
    starts[after] = stored["start"][last] + stored["rows"][last]
    replaced = ~after & (counts > 0)
    starts[replaced] = stored["start"][bounds[:-1][replaced]]
    rank = np.arange(len(stored)) - np.repeat(bounds[:-1], counts)
    rewritten = stored[rank >= np.repeat(kept, counts)]
    return Merge(new, starts, np.concatenate(([0], np.cumsum(counts - kept))), rewritten)


def _merged(table: Table, blocks: Blocks, merge: Merge) -> tuple[Array, Mapping[str, Array]]:
    """(bounds, columns) of stored and new rows together."""
    new, stored = merge.new, merge.stored
    if not len(stored):
        return new.bounds, new.columns
    ends = np.concatenate(([0], np.cumsum(stored["rows"], dtype="i8")))
    old_bounds = ends[merge.bounds]
    bounds = old_bounds + new.bounds
    owner = np.repeat(np.arange(len(new.users)), np.diff(merge.bounds))
    columns = blocks.fetch(
        table.segments, table.versions, stored, ends[:-1] + new.bounds[:-1][owner], int(bounds[-1])
    )
    places = np.arange(int(new.bounds[-1])) + np.repeat(old_bounds[1:], np.diff(new.bounds))
    for name, values in new.columns.items():
        columns[name][places] = values
    return bounds, in_time_order(bounds, columns)
