"""Organic behaviours of many users in flat columns; numpy only.

Letters: U users, N behaviours. Times are whole seconds from the trace's epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.scratch import gathered, let_go

SHORT, CLICK, DEEP = 0, 1, 2  #: action codes
FEED, VIDEO, SEARCH = 0, 1, 2  #: scene codes; each scene is one sequence type
ACTIONS, SCENES = 3, 3
_AT_ONCE = 1 << 16  # moments looked up together
_GROUP = 1 << 18  # behaviours of `groups`

#: Columns beside user_id, with dtype, in the order of the behaviours contract.
COLUMNS: dict[str, str] = {
    "time_s": "i8",
    "item_id": "u8",
    "category": "u2",
    "action": "u1",
    "scene": "u1",
    "dwell_s": "u2",
}


@dataclass(frozen=True)
class Behaviours:
    """Flat columns (N,), sorted by (user, time); equal times keep the order they happened in.

    User `users[i]` owns rows offsets[i] to offsets[i + 1].
    """

    users: NDArray[np.uint64]  #: (U,) ascending
    offsets: NDArray[np.int64]  #: (U + 1,)
    time_s: NDArray[np.int64]
    item_id: NDArray[np.uint64]
    category: NDArray[np.uint16]
    action: NDArray[np.uint8]
    scene: NDArray[np.uint8]
    dwell_s: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def user_id(self) -> NDArray[np.uint64]:
        """(N,) the user of each behaviour; made on request, because it repeats."""
        return np.repeat(self.users, np.diff(self.offsets))

    @property
    def columns(self) -> dict[str, NDArray[np.generic]]:
        """The stored columns by name, without user_id."""
        return {name: getattr(self, name) for name in COLUMNS}

    @classmethod
    def concatenate(cls, parts: Iterable[Behaviours], folder: Path | None = None) -> Behaviours:
        """Behaviours of consecutive groups of users, joined in temporary files; see `simulator.scratch`.

        Pass an iterator rather than a list where memory matters: one group is held at a time.
        """
        users: list[NDArray[np.uint64]] = []
        lengths: list[NDArray[np.int64]] = []

        def columns() -> Iterator[dict[str, NDArray[Any]]]:
            for part in parts:
                users.append(part.users)
                lengths.append(np.diff(part.offsets))
                yield part.columns

        found = gathered(columns(), folder)
        offsets = np.concatenate([[0], *lengths]).cumsum(dtype=np.int64)
        return cls(np.concatenate(users), offsets, **found)

    def groups(self) -> Iterator[Behaviours]:
        """Consecutive users, about _GROUP behaviours together; what was looked at of files is let go of."""
        edges = np.searchsorted(self.offsets, np.arange(_GROUP, len(self), _GROUP))
        for low, high in pairwise(np.unique([0, *edges, len(self.users)]).tolist()):
            own = slice(self.offsets[low], self.offsets[high])
            columns: dict[str, NDArray[Any]] = {name: column[own] for name, column in self.columns.items()}
            offsets = self.offsets[low : high + 1] - self.offsets[low]
            yield Behaviours(self.users[low:high], offsets, **columns)
            self.let_go()

    def let_go(self) -> None:
        """Give the memory back that behaviours in files take once they were looked at."""
        let_go(*self.columns.values())

    def count_before(self, user_rows: NDArray[np.int64], time_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many behaviours of user `users[row]` have time_s < the given time, i8 (R,)."""
        found = np.empty(len(user_rows), np.int64)
        # User by user, so that what is looked at of a file lies together and can be let go of.
        order = np.argsort(user_rows, kind="stable")
        for first in range(0, len(order), _AT_ONCE):
            part = order[first : first + _AT_ONCE]
            found[part] = self._count_before(user_rows[part], time_s[part])
            let_go(self.time_s)
        return found

    def _count_before(self, user_rows: NDArray[np.int64], time_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """As `count_before`: a binary search over all rows at once."""
        low = self.offsets[user_rows].copy()
        start, high = low.copy(), self.offsets[user_rows + 1].copy()
        while True:
            active = low < high
            if not active.any():
                return low - start
            middle = (low + high) // 2
            # Rows already decided may point one past the end; their comparison is not used.
            earlier = self.time_s[np.minimum(middle, len(self) - 1)] < time_s
            low = np.where(active & earlier, middle + 1, low)
            high = np.where(active & ~earlier, middle, high)
