"""The index: which blocks of which segments make up each user's sealed history, in DRAM.

Made from the segments' footers, so it needs no file of its own. A block takes 32 bytes, a user about 24. All
calls but those that look belong into an exclusive section of the lock that the readers share.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from seqvault.schema import Array
from seqvault.vault.format.entries import BLOCK, ENTRY, MAX_SLOTS, check_entries
from seqvault.vault.kernels.reads import index as kernel
from seqvault.vault.kernels.reads.users import EMPTY, slots_for

__all__ = ["Index"]

_FEW_RECORDS = 64
# Places of the table that are looked at in one section: under a tenth of a millisecond.
_LOOKED_AT_ONCE = 1 << 14
# Kernels are compiled for arrays that may be written, though they do not write these.
_PLAIN: Final = ("C", "W")


class Index:
    """Live blocks by user; `seqvault.vault.format.entries` says how entries are applied.

    Slots are small numbers the caller gives to segments.
    """

    def __init__(self) -> None:
        # Where the arrays lie: all that the read kernel needs to know.
        self.where = np.zeros(3, "u8")
        self._spare: tuple[Array, int, Array] | None = None
        self._make(0, 0)

    def reserve(self, entries: int) -> None:
        """Make room for so many entries to come, outside the exclusive section that `apply` belongs into.

        Copying a large index takes tens of milliseconds; the copy is put to use by the next `apply`.
        """
        users, used = int(self.state[kernel.USERS]), int(self.state[kernel.USED])
        table, records = self.table, self.records
        if (users + entries) * 4 > table.size // 2 * 3:
            table, users = self._rehashed(users + max(users // 2, entries))
        if (used + 4 * entries) * 4 > records.size:
            records = _longer(records, 16 * entries)
        self._spare = table, users, records

    def apply(self, slot: int, entries: Array) -> None:
        """Apply the entries of one segment, newer than all before. Raises StoreError for impossible ones."""
        check_entries(slot, entries)
        if self._spare is not None:
            self._adopt(*self._spare)
        words = _words(entries)
        done = 0
        while done < len(words):
            done = kernel.apply(self.state, self.table, self._free, self.records, slot, words, done)
            if done < len(words):
                self._grow(len(words) - done)

    def build(self, segments: Iterable[tuple[int, Array]]) -> None:
        """Forget everything and apply (slot, entries) of all segments, oldest first."""
        segments = [(slot, np.asarray(entries, ENTRY)) for slot, entries in segments]
        blocks = sum(len(entries) for _, entries in segments)
        users = sum(_runs(entries["user"]) for _, entries in segments)
        self._make(users, blocks)
        for slot, entries in segments:
            self.apply(slot, entries)
        self._fit()

    def move(self, old_slots: Sequence[int], new_slot: int, entries: Array) -> None:
        """Blocks copied out of old segments into a new one lie there from now on.

        An entry counts for the live block of the same user, start and rows if that lies in one of the old
        slots, and is ignored when there is none. Entries may come in portions.
        """
        check_entries(new_slot, entries)
        self._spare = None
        kernel.move(self.table, self.records, _marked(old_slots), new_slot, _words(entries))

    def drop(self, slots: Sequence[int]) -> None:
        """Forget every block that lies in one of the slots."""
        self._spare = None
        kernel.drop(self.state, self.table, self._free, self.records, _marked(slots))

    def find(self, users: Array) -> tuple[Array, Array]:
        """The live blocks of (U,) users: bounds (U+1,) i8, and BLOCK records, each user's oldest first."""
        users = np.require(users, "u8", _PLAIN)
        bounds = np.zeros(len(users) + 1, "i8")
        kernel.count_found(self.table, users, bounds)
        words, slots = np.empty((int(bounds[-1]), 6), "u8"), np.empty(int(bounds[-1]), "u4")
        kernel.fill_found(self.table, self.records, users, words, slots)
        entries = words.view(ENTRY).reshape(-1)
        blocks = np.empty(len(entries), BLOCK)
        for name in ENTRY.names or ():
            blocks[name] = entries[name]
        blocks["slot"] = slots
        return bounds, blocks

    def blocks_of(self, user: int) -> Array:
        """One user's live blocks, oldest first: BLOCK records."""
        return self.find(np.array([user], "u8"))[1]

    def live(self) -> Array:
        """Every live block, by user and start: BLOCK records."""
        return self.find(self.users())[1]

    def live_bytes(self, slots: int) -> Array:
        """(slots, 2) u8, of the first so many slots: bytes of live blocks, and live rows of shared ones."""
        out = np.zeros((slots, 2), "u8")
        kernel.live_bytes(self.table, self.records, out)
        return out

    def end_rank(self, user: int) -> int:
        """Rank behind the user's last sealed row; 0 without one."""
        return int(self.end_ranks(np.array([user], "u8"))[0])

    def end_ranks(self, users: Array) -> Array:
        """(U,) u8: rank behind each user's last sealed row."""
        bounds, blocks = self.find(users)
        ends = np.zeros(len(users), "u8")
        full = np.diff(bounds) > 0
        last = blocks[bounds[1:][full] - 1]
        ends[full] = last["start"] + last["rows"]
        return ends

    def users(self) -> Array:
        """(K,) u8, sorted: users with at least one live block."""
        return np.sort(_holding(self.table))

    def portions(self, slots: int) -> Iterator[tuple[Array, Array, bool]]:
        """What `users` and `live_bytes` say, some users at a time; each is taken in a section of its own.

        Yields:
            users (unsorted), what live_bytes says of theirs, and whether these are the first: they may begin
            anew.
        """
        table, first = self.table, True
        for start in range(0, table.size, 2 * _LOOKED_AT_ONCE):
            if self.table is not table:
                yield from self.portions(slots)
                return
            part, out = table[start : start + 2 * _LOOKED_AT_ONCE], np.zeros((slots, 2), "u8")
            kernel.live_bytes(part, self.records, out)
            yield _holding(part), out, first
            first = False

    @property
    def blocks(self) -> int:
        """Live blocks."""
        return int(self.state[kernel.BLOCKS])

    @property
    def rows(self) -> int:
        """Behaviours in live blocks."""
        return int(self.state[kernel.ROWS])

    @property
    def nbytes(self) -> int:
        """Bytes of DRAM."""
        return int(self.table.nbytes + self.records.nbytes + self._free.nbytes + self.state.nbytes)

    def _make(self, users: int, blocks: int) -> None:
        self.state = np.zeros(kernel.STATE_WORDS, "u8")
        self._free = np.full(kernel.CLASSES, EMPTY, "u8")
        table = np.full(2 * slots_for(users), EMPTY, "u8")
        self._adopt(table, 0, np.empty(4 * max(_FEW_RECORDS, blocks), "u8"))

    def _adopt(self, table: Array, users: int, records: Array) -> None:
        self.table, self.records = table, records
        self.state[kernel.USERS] = users
        self._spare = None
        self.where[:] = table.ctypes.data, table.size, records.ctypes.data

    def _grow(self, entries: int) -> None:
        """Make room in whichever array has too little of it for the next entry."""
        users = int(self.state[kernel.USERS])
        if (users + 1) * 4 > self.table.size // 2 * 3:
            self._adopt(*self._rehashed(users + max(users // 2, min(entries, users))), self.records)
        else:
            self._adopt(self.table, users, _longer(self.records, 4 * 1024))

    def _fit(self) -> None:
        """Let both arrays be as long as they must."""
        table, users = self._rehashed(len(self.users()))
        counts = table.reshape(-1, 2)[:, 1]
        blocks = counts[counts != EMPTY] & np.uint64(0xFFFFFFFF)
        needed = int(np.where(blocks > 16, (blocks + np.uint64(7)) & ~np.uint64(7), blocks).sum())
        records = np.empty(4 * max(_FEW_RECORDS, needed), "u8")
        kernel.repack(self.state, table, self.records, records)
        self._free[:] = EMPTY
        self._adopt(table, users, records)

    def _rehashed(self, users: int) -> tuple[Array, int]:
        """A table for so many users, and how many are in it: those who have blocks."""
        table = np.full(2 * slots_for(users), EMPTY, "u8")
        return table, kernel.rehash(self.table, table)


def _holding(table: Array) -> Array:
    """Users of (a part of) the table who have blocks."""
    slots = table.reshape(-1, 2)
    filled = (slots[:, 1] != EMPTY) & ((slots[:, 1] & np.uint64(0xFFFFFFFF)) > 0)
    users: Array = slots[filled, 0]
    return users


def _longer(records: Array, words: int) -> Array:
    """A copy with room for so many more words, or half as many again."""
    grown = np.empty(records.size + max(records.size // 2, words), "u8")
    grown[: records.size] = records
    return grown


def _words(entries: Array) -> Array:
    return np.require(entries, ENTRY, _PLAIN).view("u8").reshape(-1, 6)


def _marked(slots: Sequence[int]) -> Array:
    marked = np.zeros(MAX_SLOTS, "u1")
    marked[list(slots)] = 1
    return marked


def _runs(users: Array) -> int:
    """At least as many as distinct users: runs of equal neighbours."""
    return 1 + int(np.count_nonzero(users[1:] != users[:-1])) if len(users) else 0
