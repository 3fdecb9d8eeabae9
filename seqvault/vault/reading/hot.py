"""The hot tier: decoded histories of users who come again, in DRAM, exact, under a number of bytes.

What is kept of a user is the newest behaviours that reads asked for, or all of them, as arrays that nobody
may write to; an answer is views of them. A user is admitted at the second read in a while, by a read of its
own without a bound in time, a little longer than what was asked for: behaviours that are appended ahead of
the bound then leave enough. Whatever changes a history forgets the user, in the section that changes it: a
read that began before puts nothing back. Where there is no room, users who were not read since they were last
passed over go first.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqvault.errors import DamagedDataError
from seqvault.query import FIRST_S, NO_BOUND_S, NO_LIMIT, Query
from seqvault.schema import Array
from seqvault.store import HistoryBatch

__all__ = ["Hot"]

# Users asked for once are remembered by this many places; two of one place are taken for one.
_PLACES = 1 << 16
# Of Python's and numpy's own, a user and a column: counted as the arrays are.
_USER_BYTES, _COLUMN_BYTES = 500, 120
# A history that would take more than its share of these is not kept.
_LEAST_USERS = 4

Read = Callable[[Query], HistoryBatch]


class _History:
    """A user's newest behaviours.

    Attributes:
        whole: there are no older ones.
        used: read since it was last passed over.
        answer: the last answer and what it answered: most requests are like the last.
    """

    __slots__ = ("answer", "bytes", "columns", "rows", "times", "used", "users", "whole")

    def __init__(self, user: Array, columns: dict[str, Array], *, whole: bool) -> None:
        for values in (user, *columns.values()):
            values.flags.writeable = False
        self.users = user
        self.columns, self.times, self.whole = columns, columns["time_s"], whole
        self.rows = len(self.times)
        self.bytes = _USER_BYTES + sum(_COLUMN_BYTES + values.nbytes for values in columns.values())
        self.used = True
        self.answer: tuple[Asked, HistoryBatch] | None = None  # one object: threads read it at any moment


class Asked(NamedTuple):
    """What an answer depends on besides the user: as of `Query`, for one user."""

    names: tuple[str, ...]
    n: int
    end_s: int


class Hot:
    """Decoded histories of one sequence.

    Args:
        size: bytes to stay under; 0 keeps nothing.

    Attributes:
        bytes: in use.
        hits, misses: users answered from here, and not.
    """

    def __init__(self, size: int) -> None:
        self.size, self.bytes, self.hits, self.misses = size, 0, 0, 0
        self._of: dict[int, _History] = {}
        self._coming: dict[int, object] = {}
        self._once = np.zeros(_PLACES, "u8")
        self._too_large: set[int] = set()
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return len(self._of)

    def one(self, user: int, asked: Asked) -> HistoryBatch | None:
        """A user's newest behaviours; None where they are not known.

        The batch and its arrays are this tier's own, given to all who ask the same: not to be written to.
        """
        history = self._of.get(user)
        if history is None:
            return None
        history.used = True
        answer = history.answer
        # By identity first: a prepared read asks with one and the same object.
        if answer is None or (answer[0] is not asked and answer[0] != asked):
            found = _answer(history, asked)
            if found is None:
                return None
            history.answer = answer = asked, found
        self.hits += 1
        return answer[1]

    def read(self, query: Query, read: Read) -> HistoryBatch | None:
        """What a query asks for where all its users are known, and else None.

        Users that are not known, and come again, are read and kept.

        Args:
            read: reads from blocks and tails.
        """
        if (
            query.start_s != FIRST_S
            or query.scenes is not None
            or query.actions is not None
            or query.distinct
        ):
            return None
        ends = query.end_s
        parts = []
        for i, user in enumerate(query.users.tolist()):
            end_s = ends if isinstance(ends, int) else int(ends[i])
            found = self.one(user, Asked(query.names, query.n, end_s))
            if found is None:
                self.misses += 1
                self._admit(user, query, read)
            else:
                parts.append(found)
        if len(parts) != len(query.users) or not parts:
            return None
        if len(parts) == 1:
            return parts[0]
        offsets = np.zeros(len(parts) + 1, "i8")
        np.cumsum([part.offsets[1] for part in parts], out=offsets[1:])
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in query.names}
        return HistoryBatch(query.users, offsets, columns)

    def forget(self, users: Array | None = None) -> None:
        """The histories of (U,) users, or all, change: called where they do, once they have."""
        if not self._of and not self._coming:
            return
        with self._turn:
            if users is None:
                self._of.clear()
                self._coming.clear()
                self.bytes = 0
                return
            for user in users.tolist():
                if self._coming.pop(user, None) is not None or user in self._of:
                    self._drop(user)
                    # Who is read once between two changes is not worth keeping.
                    self._once[user % _PLACES] = 0

    def _admit(self, user: int, query: Query, read: Read) -> None:
        """Read and keep a user who was asked for before."""
        place, mark = user % _PLACES, (user + 1) % (1 << 64)
        if int(self._once[place]) != mark or user in self._too_large:
            self._once[place] = mark
            return
        wanted = min(query.n + query.n // 4 + 64, NO_LIMIT)
        known = self._of.get(user)
        names = query.names
        if known is not None:
            # Known for other columns, or fewer behaviours: both together from now on.
            names = tuple(dict.fromkeys((*known.columns, *names)))
            wanted = max(wanted, known.rows)
        if "time_s" not in names:
            names = (*names, "time_s")
        mine = self._coming[user] = object()
        alone = np.array([user], "u8")
        try:
            found = read(Query(alone, names, wanted, FIRST_S, NO_BOUND_S, None, None, None))
        except DamagedDataError:
            return  # in what nobody asked for
        columns = {name: values.copy() for name, values in found.columns.items()}
        history = _History(alone, columns, whole=int(found.offsets[-1]) < wanted)
        with self._turn:
            if self._coming.get(user) is not mine:
                return  # it changed meanwhile
            del self._coming[user]
            self._drop(user)
            if history.bytes * _LEAST_USERS > self.size:
                if len(self._too_large) >= _PLACES:
                    self._too_large.clear()
                self._too_large.add(user)
                return
            self._make_room(history.bytes)
            self._of[user] = history
            self.bytes += history.bytes

    def _make_room(self, wanted: int) -> None:
        while self.bytes + wanted > self.size and self._of:
            user, history = next(iter(self._of.items()))
            if history.used:
                # Once more round: dicts keep the order in which keys came.
                history.used = False
                del self._of[user]
                self._of[user] = history
            else:
                self._drop(user)

    def _drop(self, user: int) -> None:
        history = self._of.pop(user, None)
        if history is not None:
            self.bytes -= history.bytes


def _answer(history: _History, asked: Asked) -> HistoryBatch | None:
    """See Hot.one."""
    names, n, end_s = asked
    rows = history.rows
    if end_s != NO_BOUND_S and rows and history.times[-1] >= end_s:
        rows = int(history.times.searchsorted(end_s))
    if rows < n and not history.whole:
        return None
    first = max(0, rows - n)
    try:
        columns = {name: history.columns[name][first:rows] for name in names}
    except KeyError:
        return None
    offsets = np.array((0, rows - first), "i8")
    offsets.flags.writeable = False
    return HistoryBatch(history.users, offsets, columns)
