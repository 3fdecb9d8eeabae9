"""Tails: each user's behaviours that are in the log but in no block yet, in DRAM, ordered by (time, arrival).

All calls but those that look belong into an exclusive section of the lock that the readers share.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from seqvault.schema import Array, HistorySchema
from seqvault.vault.format.rows_by_user import cuts
from seqvault.vault.kernels.reads import tails as kernel
from seqvault.vault.kernels.reads.memory import address_of
from seqvault.vault.kernels.reads.users import EMPTY, slots_for

__all__ = ["Tails"]

# Memory is taken from the system in slabs, touched only as it fills.
_SLAB_BYTES = 16 << 20
# Rows of one call: its scratch stays in the processor's cache.
_PORTION = 8192
# Places of the table that are looked at in one section: under a tenth of a millisecond.
_LOOKED_AT_ONCE = 1 << 14


class Tails:
    """The unsealed behaviours of all users."""

    def __init__(self, schema: HistorySchema) -> None:
        self._dtypes = {column.name: np.dtype(column.dtype) for column in schema.columns}
        widths = [dtype.itemsize for dtype in self._dtypes.values()]
        # Wide columns first: every column of a chunk is aligned, and time_s is the first.
        before = [
            sum(w for k, w in enumerate(widths) if w > width or (w == width and k < i))
            for i, width in enumerate(widths)
        ]
        self.layout = np.array([widths, before], "u8").T.copy()
        self._addresses = np.zeros(len(widths), "u8")
        self._slabs: list[Array] = []
        self._slab_places = np.empty((0, 2), "u8")
        self._state = np.zeros(kernel.STATE_WORDS, "u8")
        self._free = np.empty(kernel.CLASSES, "u8")
        # Where the table lies: all that the read kernel needs to know.
        self.where = np.zeros(2, "u8")
        self._adopt(_free_table(0))
        self.clear()

    def add(self, users: Array, columns: Mapping[str, Array]) -> None:
        """Add (N,) behaviours in arrival order, users mixed.

        Args:
            users: u8.
            columns: every column of the schema, contiguous, in its dtype, (N,): nothing is checked here.
        """
        if not users.flags.carray:
            # Kernels are compiled for arrays that may be written, though this one is not.
            users = users.copy()
        addresses = self._addresses
        for i, name in enumerate(self._dtypes):
            addresses[i] = address_of(columns[name])
        if len(users) <= _PORTION:
            self._add(users, addresses)
            return
        for start in range(0, len(users), _PORTION):
            self._add(users[start : start + _PORTION], addresses + self.layout[:, 0] * np.uint64(start))

    def drain(self) -> tuple[Array, Array, dict[str, Array]]:
        """A copy of everything: users (K,) u8 sorted, bounds (K+1,) i8 of their rows, columns (N,)."""
        users = self.users()
        bounds, columns = self._rows_of(users)
        return users, bounds, columns

    def portions(self, rows: int) -> Iterator[tuple[Array, Array, dict[str, Array]]]:
        """What `drain` gives, users of about so many rows at a time."""
        users = self.users()
        bounds = np.zeros(len(users) + 1, "i8")
        kernel.count_rows(self._table, users, bounds)
        for part in np.split(users, cuts(bounds[1:], rows)):
            yield part, *self._rows_of(part)

    def rows_of(self, user: int) -> dict[str, Array] | None:
        """A copy of one user's behaviours; None without any."""
        bounds, columns = self._rows_of(np.array([user], "u8"))
        return columns if bounds[-1] else None

    def users(self) -> Array:
        """(K,) u8, sorted: users with at least one behaviour."""
        return np.sort(_holding(self._table))

    def user_portions(self) -> Iterator[Array]:
        """What `users` says, unsorted, some at a time; each is taken in a section of its own."""
        table, step = self._table, kernel.TABLE_WIDTH * _LOOKED_AT_ONCE
        for start in range(0, table.size, step):
            yield _holding(table[start : start + step])

    def drop_user(self, user: int) -> None:
        """Forget one user's behaviours."""
        self.drop_users(np.array([user], "u8"))

    def drop_users(self, users: Array) -> None:
        """Forget the behaviours of (U,) users."""
        kernel.drop(self._state, self._table, self._free, np.require(users, "u8", ["C", "W"]))

    def clear(self) -> None:
        """Forget everything; the memory is kept for what comes."""
        self._table[:] = EMPTY
        self._free[:] = EMPTY
        self._state[:] = 0

    @property
    def rows(self) -> int:
        """Behaviours held."""
        return int(self._state[kernel.ROWS])

    @property
    def nbytes(self) -> int:
        """Bytes of DRAM in use."""
        return int(self._state[kernel.USED_BYTES]) + self._table.nbytes

    def _add(self, users: Array, addresses: Array) -> None:
        known = int(self._state[kernel.USERS])
        if (known + len(users)) * 4 > self._table.size // kernel.TABLE_WIDTH * 3:
            table = _free_table(known + max(known // 2, len(users)))
            self._state[kernel.USERS] = kernel.rehash(self._table, table)
            self._adopt(table)
        arrays = (self._state, self._table, self._free)
        while missing := kernel.add(*arrays, self._slab_places, self.layout, users, addresses):
            slab = np.empty(max(_SLAB_BYTES, missing), "u1")
            self._slabs.append(slab)
            place = np.array([[slab.ctypes.data, slab.size]], "u8")
            self._slab_places = np.concatenate((self._slab_places, place))

    def _rows_of(self, users: Array) -> tuple[Array, dict[str, Array]]:
        bounds = np.zeros(len(users) + 1, "i8")
        kernel.count_rows(self._table, users, bounds)
        columns = {name: np.empty(int(bounds[-1]), dtype) for name, dtype in self._dtypes.items()}
        addresses = np.array([values.ctypes.data for values in columns.values()], "u8")
        kernel.fill_rows(self._table, self.layout, users, bounds, addresses)
        return bounds, columns

    def _adopt(self, table: Array) -> None:
        self._table = table
        self.where[:] = table.ctypes.data, table.size


def _holding(table: Array) -> Array:
    """Users of (a part of) the table who have behaviours."""
    slots = table.reshape(-1, kernel.TABLE_WIDTH)
    held = slots[:, 1]
    users: Array = slots[(held != EMPTY) & (held >> np.uint64(32) > 0), 0]
    return users


def _free_table(users: int) -> Array:
    return np.full(kernel.TABLE_WIDTH * slots_for(users), EMPTY, "u8")
