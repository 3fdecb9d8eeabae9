"""Tails: each user's behaviours that are in the log but in no block yet, as packed records in DRAM."""

from collections.abc import Iterator

import numpy as np

from seqvault.schema import Array
from seqvault.select import by_user

__all__ = ["Tail", "Tails"]


class Tail:
    """One user's unsealed behaviours, ordered by (time, arrival), in an array that doubles when full."""

    __slots__ = ("_rows", "count", "first_s", "last_s")

    def __init__(self, rows: Array) -> None:
        self._rows = rows
        self.count = len(rows)
        self._reorder(0)

    @property
    def rows(self) -> Array:
        """The behaviours; a view that the next add may outdate."""
        return self._rows[: self.count]

    def add(self, rows: Array) -> None:
        """Put rows behind the others, or among them where their times say so."""
        count = self.count + len(rows)
        if count > len(self._rows):
            grown = np.empty(max(count, 2 * len(self._rows)), self._rows.dtype)
            grown[: self.count] = self.rows
            self._rows = grown
        self._rows[self.count : count] = rows
        start, self.count = max(0, self.count - 1), count
        self._reorder(start)

    def _reorder(self, start: int) -> None:
        times = self.rows["time_s"][start:]
        if len(times) > 1 and np.any(times[1:] < times[:-1]):
            self._rows[: self.count] = self.rows[np.argsort(self.rows["time_s"], kind="stable")]
        self.first_s = int(self._rows["time_s"][0])
        self.last_s = int(self._rows["time_s"][self.count - 1])


class Tails:
    """The tails of all users."""

    def __init__(self) -> None:
        self._of: dict[int, Tail] = {}
        self.behaviours = 0

    def add(self, user_ids: Array, rows: Array) -> None:
        """Add (N,) behaviours in arrival order, users mixed."""
        order, users, bounds = by_user(user_ids)
        ranked = rows[order]
        edges = bounds.tolist()
        for i, user in enumerate(users.tolist()):
            new = ranked[edges[i] : edges[i + 1]]
            tail = self._of.get(user)
            if tail is None:
                self._of[user] = Tail(new.copy())
            else:
                tail.add(new)
        self.behaviours += len(rows)

    def get(self, user: int) -> Tail | None:
        """A user's tail, if it has one."""
        return self._of.get(user)

    def items(self) -> Iterator[tuple[int, Tail]]:
        """(user, tail) in user order."""
        return iter(sorted(self._of.items()))

    def users(self) -> set[int]:
        """Users with a tail."""
        return set(self._of)
