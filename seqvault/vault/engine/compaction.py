"""Compaction: live blocks of some segments are copied together, and the dead and the expired stay behind.

A run of segments that follow each other in the manifest becomes one segment in their place. Blocks are
copied as they are, verified, and what is alive in shared ones is encoded anew: writers and readers go on
meanwhile, and a seal that replaces a block while it is copied wins. What an entry did to earlier segments
must stay done: tombstones are kept, and where a block is dropped that earlier segments may have older
versions of, a tombstone with its rank takes its place. A run that begins with the first segment needs
neither.

Full compaction writes every history anew, in large blocks, and holds up writers while it does.
"""

import threading
from collections.abc import Sequence

import numpy as np

from seqvault.errors import StoreError
from seqvault.schema import Array
from seqvault.vault.compiled.rewrite import Blocks
from seqvault.vault.disk.files import WriterStoppedError, remove
from seqvault.vault.disk.points import point
from seqvault.vault.disk.segment import Segment
from seqvault.vault.engine.full import rewrite_all
from seqvault.vault.engine.sealing import write_shared
from seqvault.vault.engine.table import Table
from seqvault.vault.engine.writer import Writer
from seqvault.vault.format.entries import ENTRY, is_shared
from seqvault.vault.format.rows_by_user import Rows, cuts
from seqvault.vault.sealed.segment_writer import SegmentWriter

__all__ = ["Compactor", "choose_run"]

# Compaction waits until this much is dead: small stores are not worth copying.
_DEAD_BYTES = 4 << 20
# More segments than this cost file descriptors, and reads of one history more seeks; the cheapest are merged.
_MOST_SEGMENTS, _MERGED = 48, 16
# Copied entries are moved in the index in portions, between which readers get their turn.
_MOVED_AT_ONCE = 1 << 14
# Rows of shared blocks that are encoded anew at once.
_SHARED_AT_ONCE = 1 << 17


def choose_run(sizes: Array, live: Array) -> tuple[int, int] | None:
    """Segments worth compacting: (first, end), or None.

    The run in which dead bytes outweigh live ones the most; and where there are too many segments, the
    neighbours that are cheapest to copy.

    Args:
        sizes, live: (S,) i8 bytes of all blocks and of live ones of each segment, in the manifest's order.
    """
    gains = (sizes - live) - live
    best, first, total, run = 0, 0, 0, (0, 0)
    for i, gain in enumerate(gains.tolist()):
        if total <= 0:
            first, total = i, 0
        total += gain
        if total > best:
            best, run = total, (first, i + 1)
    if run != (0, 0) and int((sizes - live)[run[0] : run[1]].sum()) >= _DEAD_BYTES:
        return run
    if len(sizes) > _MOST_SEGMENTS:
        sums = np.convolve(live, np.ones(_MERGED, "i8"), "valid")
        cheapest = int(np.argmin(sums))
        return cheapest, cheapest + _MERGED
    return None


class Compactor:
    """Compacts a store that is open for writing; one thread at a time.

    Args:
        writer: the store's.

    Attributes:
        failures: of compactions that nobody asked for.
    """

    def __init__(self, writer: Writer) -> None:
        self.failures = 0
        self._writer = writer
        self._state = writer.state
        self._turn = threading.Lock()
        self._blocks: Blocks | None = None

    def step(self) -> bool:
        """Compact the run that is most worth it; False where none is.

        Raises:
            StoreFullError: no space; nothing changed.
            DamagedDataError: a block fails its checksum; nothing changed.
        """
        with self._turn, self._writer.noting_failure():
            self._writer.check_writable()
            for table in self._state.tables:
                segments = self._segments(table)
                with self._state.lock.shared():
                    found = table.index.live_bytes(max((slot for slot, _ in segments), default=0) + 1)
                live = np.array(
                    [segment.live_bytes(*found[slot].tolist()) for slot, segment in segments], "i8"
                )
                # Not the files' sizes: a copy keeps tombstones, and would be worth another copy.
                sizes = np.array([segment.block_bytes for _, segment in segments], "i8")
                run = choose_run(sizes, live)
                if run is not None:
                    self._compact(table, segments[run[0] : run[1]], first=run[0] == 0)
                    return True
        return False

    def merge(self) -> None:
        """Copy all live blocks of each sequence into one segment. Raises as `step`."""
        with self._turn, self._writer.noting_failure():
            self._writer.check_writable()
            for table in self._state.tables:
                segments = self._segments(table)
                if segments:
                    self._compact(table, segments, first=True)

    def full(self) -> None:
        """Write every history anew: full blocks, nothing expired, nothing deleted. Raises as `step`."""
        with self._turn, self._writer.mutex, self._writer.noting_failure():
            self._writer.seal()
            rewrite_all(self._writer)

    def _segments(self, table: Table) -> list[tuple[int, Segment]]:
        """(slot, segment) in the manifest's order."""
        with self._writer.mutex:
            slots = {segment.file.number: slot for slot, segment in table.segments.items()}
            files = self._state.manifest.sequences[table.place].segments
            return [(slots[file.number], table.segments[slots[file.number]]) for file in files]

    def _compact(self, table: Table, run: Sequence[tuple[int, Segment]], *, first: bool) -> None:
        point("compaction.begun")
        slots = [slot for slot, _ in run]
        with self._state.lock.shared():
            live = table.index.live()
            floor_s, cap = table.reader.floor_s, table.reader.cap
        dropped = unreadable(live, floor_s, cap)
        chosen = np.isin(live["slot"], slots)
        number = self._writer.take_number()
        stones = np.empty(0, ENTRY)
        if not first:
            stones = np.concatenate(
                [_stones(segment) for _, segment in run] + [_cuts(live[chosen & dropped])]
            )
        writer = self._copy(table, dict(run), live[chosen & ~dropped], stones, number)
        try:
            self._replace(table, slots, writer)
        except WriterStoppedError:
            raise
        except StoreError:
            if writer is not None:
                remove(writer.path, self._state.own)
            raise
        self._state.drop_retired()
        point("compaction.dropped")

    def _copy(
        self, table: Table, segments: dict[int, Segment], live: Array, stones: Array, number: int
    ) -> SegmentWriter | None:
        """The new segment; None where nothing would be in it."""
        if not len(live) and not len(stones):
            return None
        if self._blocks is None:
            self._blocks = self._state.new_blocks()
        with self._writer.new_segment(table, number) as writer:
            if len(stones):
                writer.add_stones(stones)
            shared = is_shared(live)
            own = live[~shared]
            for data, blocks in self._blocks.copies(segments, own) if len(own) else ():
                entries = np.empty(len(blocks), ENTRY)
                for name in ENTRY.names or ():
                    entries[name] = blocks[name]
                entries["offset"] = np.cumsum(blocks["size"], dtype="u8") - blocks["size"]
                writer.add(data, entries)
            self._copy_shared(writer, table, segments, live[shared])
            writer.finish()
        point("compaction.copied")
        return writer

    def _copy_shared(
        self, writer: SegmentWriter, table: Table, segments: dict[int, Segment], live: Array
    ) -> None:
        """Encode the histories in shared blocks anew, under the newest schema."""
        assert self._blocks is not None
        ends = np.cumsum(live["rows"], dtype="i8")
        for part in np.split(live, cuts(ends, _SHARED_AT_ONCE)) if len(live) else ():
            bounds = np.concatenate(([0], np.cumsum(part["rows"], dtype="i8")))
            columns = self._blocks.fetch(segments, table.versions, part, bounds[:-1], int(bounds[-1]))
            write_shared(writer, table.schema, self._blocks, Rows(part["user"], bounds, columns))

    def _replace(self, table: Table, slots: list[int], writer: SegmentWriter | None) -> None:
        """Put the new segment in the place of the old ones."""
        numbers = {table.segments[slot].file.number for slot in slots}
        with self._writer.mutex:
            self._writer.check_writable()
            manifest = self._state.manifest
            old = manifest.sequences[table.place].segments
            at = min(place for place, file in enumerate(old) if file.number in numbers)
            new = [file for file in old if file.number not in numbers]
            new[at:at] = [] if writer is None else [writer.file]
            slot = None if writer is None else table.open_segment(writer.file)

            def take_over() -> None:
                # Read before the manifest names it: nothing may fail between that and the move.
                entries = None if slot is None else table.segments[slot].entries()
                self._writer.adopt(manifest.with_sequence(table.place, segments=tuple(new)))
                self._move(table, slots, slot, entries)

            try:
                self._writer.whole(take_over)
            except BaseException as error:
                if slot is not None and self._writer.may_undo(manifest.generation, error):
                    table.discard(slot)
                raise
        point("compaction.adopted")

    def _move(self, table: Table, slots: list[int], slot: int | None, entries: Array | None) -> None:
        """Read from the new segment what was in the old ones; what is left there was dropped."""
        if slot is not None and entries is not None:
            entries = entries[entries["rows"] > 0]
            for start in range(0, len(entries), _MOVED_AT_ONCE):
                with self._state.lock.exclusive():
                    table.index.move(slots, slot, entries[start : start + _MOVED_AT_ONCE])
        with self._state.lock.exclusive():
            table.index.drop(slots)
            table.retire(slots)


def unreadable(live: Array, floor_s: int, cap: int | None) -> Array:
    """Which blocks no read can reach: (K,) bool.

    Args:
        live: BLOCK records by user and start.
        floor_s, cap: the sequence's.
    """
    expired: Array = live["last_s"] < floor_s
    if cap is not None and len(live):
        rows = np.cumsum(live["rows"], dtype="i8")
        last = np.flatnonzero(np.append(live["user"][1:] != live["user"][:-1], True))
        ends = rows[last]
        newer = np.repeat(ends, np.diff(np.append(-1, last))) - rows
        expired = expired | (newer >= cap)
    return expired


def _stones(segment: Segment) -> Array:
    """Tombstones of a segment."""
    entries = segment.entries()
    stones: Array = entries[entries["rows"] == 0]
    return stones


def _cuts(dropped: Array) -> Array:
    """Tombstones that do to earlier segments what these blocks' entries did."""
    users, first = np.unique(dropped["user"], return_index=True)
    cuts = np.zeros(len(users), ENTRY)
    cuts["user"], cuts["start"] = users, dropped["start"][first]
    return cuts
