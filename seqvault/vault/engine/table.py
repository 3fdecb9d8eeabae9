"""A sequence of an open store: its segments, the index of their blocks, and the tails."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from seqvault.errors import DamagedDataError, StoreError
from seqvault.schema import Array, Columns, HistorySchema
from seqvault.vault.compiled.options import Options
from seqvault.vault.disk.identity import SegmentFile, StrangerError
from seqvault.vault.disk.manifest import SequenceState, segment_name
from seqvault.vault.disk.segment import Segment
from seqvault.vault.format.entries import ENTRY
from seqvault.vault.log.change import Change
from seqvault.vault.log.record import DELETE, EXPIRE, ROWS
from seqvault.vault.reading.hot import Hot
from seqvault.vault.reading.locks import ReadersWriterLock
from seqvault.vault.reading.read import engine
from seqvault.vault.sealed.salvage import entries_of_blocks

if TYPE_CHECKING:
    from seqvault.vault.reading.compiled_reader import Reader
    from seqvault.vault.reading.index import Index
    from seqvault.vault.reading.tails import Tails

__all__ = ["Table", "tombstones"]

_log = logging.getLogger(__name__)

# Rows of the tails looked at in one section.
_LOOKED_AT_ONCE = 1 << 16


class Table:
    """One sequence in memory.

    What changes the index, the tails or the floor is called inside an exclusive section of `lock`.

    Args:
        folder: the store's.
        place: the sequence's in the manifest.
        state: what the manifest says of it.
        lock: shared by all sequences of the store.

    Attributes:
        index, tails, reader: see index.py, tails.py, read.py.
        hot: see hot.py; None where nothing is kept.
        segments: open segments by slot.
        deleted: users deleted since the last seal whose blocks are still in segments.
        damage: by segment number, what is wrong with footers that are read around.
    """

    def __init__(
        self, folder: Path, place: int, state: SequenceState, lock: ReadersWriterLock, options: Options
    ) -> None:
        self.place = place
        self.name = state.name
        self.schema = state.schema
        self.versions = state.versions
        self.segments: dict[int, Segment] = {}
        self._retired: dict[int, Segment] = {}
        self.deleted: set[int] = set()
        self._folder = folder
        self.lock = lock
        self._direct = options.direct_io
        self._read_only = options.read_only
        self.damage: dict[int, str] = {}
        self.hot = Hot(options.hot_bytes) if options.hot_bytes else None
        made = engine(state.schema, lock, plain=options.plain, direct=options.direct_io)
        # Compiled or plain, they have the same methods.
        self.index, self.tails, self.reader = cast("tuple[Index, Tails, Reader]", made)
        self.reader.set_schema({version.id: version for version in state.versions})
        self.limit(state)

    def limit(self, state: SequenceState) -> None:
        """Take over cap and floor."""
        self.reader.cap = state.cap
        self.reader.floor_s = state.floor_s
        self.changed(None)

    def changed(self, users: Array | None) -> None:
        """Histories of (U,) users, or all, are no longer what they were."""
        if self.hot is not None:
            self.hot.forget(users)

    def segment_path(self, number: int) -> Path:
        """The file of a segment."""
        return self._folder / segment_name(self.name, number)

    def open_segment(self, file: SegmentFile) -> int:
        """Open a segment for the reader; its blocks are in no index yet. Returns its slot.

        Raises:
            DamagedDataError: it does not open, or is another file.
        """
        taken = self.segments.keys() | self._retired.keys()
        slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        segment = Segment(self.segment_path(file.number), file, direct=self._direct)
        self.segments[slot] = segment
        with self.lock.exclusive():
            self.reader.add(slot, segment.block_fd, segment.path)
        return slot

    def build(self, files: Iterable[SegmentFile]) -> None:
        """Open segments and make the index of them. Raises DamagedDataError."""
        slots = [self.open_segment(file) for file in files]
        self.index.build([(slot, self.entries(slot)) for slot in slots])

    def entries(self, slot: int) -> Array:
        """(K,) ENTRY of an open segment; where its footer is damaged, for readers, those of its blocks.

        Raises:
            DamagedDataError: the footer is damaged, and the store is open for writing or blocks are as well.
        """
        segment = self.segments[slot]
        try:
            return segment.entries()
        except StrangerError:
            raise
        except DamagedDataError as error:
            found = entries_of_blocks(segment)
            if found is None or not self._read_only:
                raise DamagedDataError(f"{error}. {self._advice(segment, found)}") from error
            _log.warning("%s; its blocks are intact and read without it", error)
            self.damage[segment.file.number] = str(error)
            return found

    def _advice(self, segment: Segment, found: Array | None) -> str:
        check = f"`laser-ab store check {self._folder}` says what else is damaged"
        if found is None:
            return check
        return (
            f"Nothing is lost: its blocks are intact, and read_only=True reads them. To write, copy "
            f"{segment.path.name} from a snapshot or backup, or load what `laser-ab store dump` saves into a "
            f"new store; {check}"
        )

    def apply(self, change: Change) -> None:
        """Make one change readable."""
        if change.kind == ROWS:
            self.add(change.users, change.columns)
        elif change.kind == DELETE:
            self.delete(change.users)
        elif change.kind == EXPIRE:
            self.reader.floor_s = max(self.reader.floor_s, int(change.columns["floor_s"][0]))
            self.changed(None)

    def add(self, users: Array, columns: Columns) -> None:
        """Put rows into the tails."""
        self.tails.add(users, columns)
        self.changed(users)

    def delete(self, users: Array) -> None:
        """Forget users."""
        self.tails.drop_users(users)
        bounds, _ = self.index.find(users)
        sealed = users[np.diff(bounds) > 0]
        if len(sealed):
            self.deleted.update(sealed.tolist())
            self.index.apply(0, tombstones(sealed))
        self.changed(users)

    def times(self) -> Iterator[Array]:
        """Stored times in portions, the newest of every user and block among them; the tails' first."""
        portions = self.tails.portions(_LOOKED_AT_ONCE)
        while True:
            with self.lock.shared():
                portion = next(portions, None)
            if portion is None:
                break
            yield portion[2]["time_s"]
        with self.lock.shared():
            newest = self.index.live()["last_s"]
        yield newest

    def users(self) -> Array:
        """(K,) u8, sorted: users with at least one behaviour."""
        return np.union1d(self.index.users(), self.tails.users())

    def retire(self, slots: Iterable[int]) -> None:
        """Take segments from the reader; reads that began before may still use them."""
        for slot in slots:
            self._retired[slot] = self._taken(slot)

    def discard(self, slot: int) -> None:
        """Close a segment that was opened and is in no index: no read uses it."""
        with self.lock.exclusive():
            segment = self._taken(slot)
        segment.close()

    def index_of(self, slot: int | None) -> "Index":
        """An index of one segment's blocks, or of none. Raises StoreError."""
        index = type(self.index)()
        index.build([] if slot is None else [(slot, self.segments[slot].entries())])
        return index

    def swap(self, old: Iterable[int], index: "Index") -> None:
        """Read by a new index, of which the old segments are no part."""
        with self.lock.exclusive():
            self.index = self.reader.index = index
            self.retire(old)

    def close_retired(self) -> list[Segment]:
        """Close what was retired, and no read uses any more; not in an exclusive section.

        Only compactions retire and close, one at a time.

        Returns:
            the segments.
        """
        gone = []
        while self._retired:
            # Forgotten first: a descriptor that is closed twice may be another file's by then.
            _, segment = self._retired.popitem()
            segment.close()
            gone.append(segment)
        return gone

    def close(self) -> None:
        """Close all segments."""
        self.close_retired()
        for segment in self.segments.values():
            segment.close()
        self.segments.clear()

    def version(self, schema_id: int) -> HistorySchema:
        """The version of the schema that blocks name by its id. Raises StoreError."""
        for version in self.versions:
            if version.id == schema_id:
                return version
        raise StoreError(
            f"sequence {self.name!r}: a block names schema {schema_id:#010x}, which the manifest lacks"
        )

    def _taken(self, slot: int) -> Segment:
        """A segment that the reader is to use no more."""
        self.reader.remove(slot)
        segment = self.segments.pop(slot)
        self.damage.pop(segment.file.number, None)
        return segment


def tombstones(users: Array) -> Array:
    """Entries that delete users."""
    entries = np.zeros(len(users), ENTRY)
    entries["user"] = users
    return entries
