"""Full compaction: every history written anew, in blocks as large as its age allows, without dead rows."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqvault.schema import Array
from seqvault.vault.compiled.options import MOST_ROWS
from seqvault.vault.disk.files import WriterStoppedError, remove
from seqvault.vault.disk.manifest import Manifest
from seqvault.vault.disk.points import point
from seqvault.vault.engine.sealing import sizes_of, write_blocks
from seqvault.vault.engine.table import Table
from seqvault.vault.engine.writer import Writer
from seqvault.vault.format.rows_by_user import Rows, cuts
from seqvault.vault.sealed.segment_writer import SegmentWriter

if TYPE_CHECKING:
    from seqvault.vault.reading.index import Index

__all__ = ["rewrite_all"]

# The newest block is half a full one, so that a short read fetches little; older ones hold twice as much: a
# read of 10,000 takes two.
_NEWEST, _OLD = 2, 2
_ROWS_AT_ONCE = 1 << 19


def rewrite_all(writer: Writer) -> None:
    """Write the sealed histories of all sequences anew, with the writer's mutex held and the tails empty.

    Raises:
        StoreFullError: no space; nothing changed.
        DamagedDataError: a block fails its checksum; nothing changed.
    """
    point("compaction.begun")
    state, manifest = writer.state, writer.state.manifest
    generation = manifest.generation
    paths: list[Path] = []
    slots: list[tuple[Table, list[int], int | None]] = []
    indexes: list[Index] = []
    try:
        for table in state.tables:
            old = list(table.segments)
            manifest = _rewrite(writer, table, manifest, paths)
            new = manifest.sequences[table.place].segments
            slot = table.open_segment(new[0]) if new else None
            slots.append((table, old, slot))
            # Read before the manifest names it: nothing may fail between that and the swap.
            indexes.append(table.index_of(slot))
        point("compaction.copied")
        writer.whole(partial(_take_over, writer, manifest, slots, indexes))
    except BaseException as error:
        if writer.may_undo(generation, error):
            _undo(slots)
            if not isinstance(error, WriterStoppedError):
                for path in paths:
                    remove(path, state.own)
        raise
    state.drop_retired()
    point("compaction.dropped")


def _take_over(
    writer: Writer,
    manifest: Manifest,
    slots: list[tuple[Table, list[int], int | None]],
    indexes: "list[Index]",
) -> None:
    """Name the new segments, and read from them in place of the old ones."""
    writer.adopt(manifest)
    point("compaction.adopted")
    for (table, old, _), index in zip(slots, indexes, strict=True):
        table.swap(old, index)


def _undo(slots: list[tuple[Table, list[int], int | None]]) -> None:
    """Forget the new segments."""
    for table, _, slot in slots:
        if slot is not None:
            table.discard(slot)


def _rewrite(writer: Writer, table: Table, manifest: Manifest, paths: list[Path]) -> Manifest:
    """Write one sequence's new segment; the manifest that names it in place of the old ones."""
    users, number = table.index.users(), manifest.next_file
    with writer.new_segment(table, number) as segment:
        for portion in _portions(table, users):
            _rewrite_users(writer, table, portion, segment)
        if segment.empty:
            return manifest.with_sequence(table.place, segments=())
        segment.finish()
    paths.append(segment.path)
    return replace(manifest.with_sequence(table.place, segments=(segment.file,)), next_file=number + 1)


def _portions(table: Table, users: Array) -> list[Array]:
    """The users, some at a time: about _ROWS_AT_ONCE behaviours each."""
    rows = np.concatenate([table.index.end_ranks(part) for part in np.array_split(users, 64)])
    return np.split(users, cuts(np.cumsum(rows.astype("i8")), _ROWS_AT_ONCE))


def _rewrite_users(writer: Writer, table: Table, users: Array, segment: SegmentWriter) -> None:
    blocks, full = writer.state.blocks, writer.state.options.block_rows
    block_bounds, stored = table.index.find(users)
    ends = np.concatenate(([0], np.cumsum(stored["rows"], dtype="i8")))
    bounds = ends[block_bounds]
    columns = blocks.fetch(table.segments, table.versions, stored, ends[:-1], int(ends[-1]))
    lengths = np.diff(bounds)
    kept = columns["time_s"] >= table.reader.floor_s
    cap = table.reader.cap
    if cap is not None:
        kept &= np.repeat(bounds[1:], lengths) - np.arange(len(kept)) <= cap
    starts = stored["start"][np.minimum(block_bounds[:-1], len(stored) - 1)]
    if not np.all(kept):
        before = np.concatenate(([0], np.cumsum(kept)))
        starts = starts + (lengths - np.diff(before[bounds])).astype("u8")
        columns = {name: values[kept] for name, values in columns.items()}
        bounds = before[bounds]
    sizes = sizes_of(max(1, full // _NEWEST), min(_OLD * full, MOST_ROWS), full, table.schema)
    whole = np.ones(len(users), bool)
    write_blocks(segment, table.schema, blocks, Rows(users, bounds, columns), starts, whole, sizes)
