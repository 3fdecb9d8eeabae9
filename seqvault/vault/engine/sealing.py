"""Sealing: behaviours of the tails, and of a bulk load, become blocks of a new segment.

New behaviours of a user are written with the blocks that tiers.py says to rewrite: small ones, and those that
a late behaviour falls into, so that blocks fill up and never overlap in time. The blocks this replaces stay
behind as dead bytes until compaction leaves them out."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from seqvault.schema import Array, HistorySchema
from seqvault.vault.compiled.rewrite import Blocks
from seqvault.vault.engine.table import Table
from seqvault.vault.format.entries import ENTRY
from seqvault.vault.format.rows_by_user import Rows, cuts, in_time_order, join
from seqvault.vault.sealed.segment_writer import SegmentWriter

__all__ = ["Sizes", "seal", "write_blocks"]

# Rewritten at once: enough for the cost of a call to vanish, and little enough for its memory to stay with
# the process from one portion to the next.
_ROWS_AT_ONCE = 1 << 17


class Sizes(NamedTuple):
    """Rows of a full block, and of one older than the newest full one."""

    full: int
    old: int


def seal(writer: SegmentWriter, table: Table, blocks: Blocks, loaded: Rows | None, sizes: Sizes) -> None:
    """Write the tails, and what is loaded beside them, with the stored behaviours that share their blocks.

    Raises:
        DamagedDataError: those stored ones fail their checksum.
    """
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
        merge = _merge_with(new, bounds, stored, kept)
        bounds, columns = _merged(table, blocks, merge)
        write_blocks(writer, table.schema, blocks, new.users, merge.starts, bounds, columns, sizes)


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


def write_blocks(
    writer: SegmentWriter,
    schema: HistorySchema,
    blocks: Blocks,
    users: Array,
    starts: Array,
    bounds: Array,
    columns: Mapping[str, Array],
    sizes: Sizes,
) -> None:
    """Cut each user's rows into blocks, encode and write them."""
    places, rows = blocks.cut(np.diff(bounds), sizes.full, sizes.old)
    if not len(places):
        return
    edges = np.concatenate(([0], np.cumsum(rows)))
    entries = np.zeros(len(places), ENTRY)
    entries["user"] = users[places]
    entries["start"] = starts[places] + (edges[:-1] - bounds[:-1][places]).astype("u8")
    entries["first_s"] = columns["time_s"][edges[:-1]]
    entries["last_s"] = columns["time_s"][edges[1:] - 1]
    entries["rows"] = rows
    data, offsets = blocks.encode(
        schema, np.ascontiguousarray(entries["user"]), np.ascontiguousarray(entries["start"]), edges, columns
    )
    entries["offset"], entries["size"] = offsets[:-1], np.diff(offsets)
    writer.add(data, entries)


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
