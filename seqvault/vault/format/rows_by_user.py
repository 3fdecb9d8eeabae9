"""Behaviours by user, as they come out of the tails and go into blocks."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from seqvault.schema import Array
from seqvault.select import by_user

__all__ = ["Rows", "cuts", "group_rows", "in_time_order", "join"]


class Rows(NamedTuple):
    """Behaviours by user: (U,) users sorted, (U+1,) bounds, (N,) columns, each user's sorted by time."""

    users: Array
    bounds: Array
    columns: Mapping[str, Array]

    def part(self, start: int, end: int) -> "Rows":
        """Users start..end-1."""
        bounds = self.bounds[start : end + 1]
        rows = slice(int(bounds[0]), int(bounds[-1]))
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Rows(self.users[start:end], bounds - bounds[0], columns)

    def of(self, chosen: Array) -> "Rows":
        """The users chosen by (U,) bool."""
        if np.all(chosen):
            return self
        lengths = np.diff(self.bounds)
        rows = np.repeat(chosen, lengths)
        bounds = np.concatenate(([0], np.cumsum(lengths[chosen])))
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Rows(self.users[chosen], bounds, columns)


def cuts(ends: Array, rows: int) -> Array:
    """Where to cut users into parts of about so many rows, by (U,) the row behind each one's last."""
    places = (ends - 1) // rows
    return np.flatnonzero(places[1:] != places[:-1]) + 1


def group_rows(users: Array, columns: Mapping[str, Array]) -> Rows:
    """(N,) behaviours in arrival order, users mixed, as Rows."""
    order, distinct, bounds = by_user(users)
    ordered = {name: values[order] for name, values in columns.items()}
    return Rows(distinct, bounds, in_time_order(bounds, ordered))


def join(older: Rows, newer: Rows) -> Rows:
    """Rows of both; at equal times those of `older` come first."""
    if not len(older.users) or not len(newer.users):
        return newer if len(newer.users) else older
    users = np.concatenate([np.repeat(rows.users, np.diff(rows.bounds)) for rows in (older, newer)])
    columns = {name: np.concatenate((values, newer.columns[name])) for name, values in older.columns.items()}
    return group_rows(users, columns)


def in_time_order(bounds: Array, columns: Mapping[str, Array]) -> Mapping[str, Array]:
    """Each user's rows sorted by time, equal times in the order they have; the same where they are."""
    times = columns["time_s"]
    falls = times[1:] < times[:-1]
    edges = bounds[1:-1]
    falls[edges[(edges > 0) & (edges < len(times))] - 1] = False
    if not np.any(falls):
        return columns
    place = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    mixed = np.zeros(len(bounds) - 1, bool)
    mixed[place[np.flatnonzero(falls)]] = True
    rows = np.flatnonzero(mixed[place])
    # The last key sorts first; lexsort keeps the order of what is equal.
    sorted_rows = rows[np.lexsort((times[rows], place[rows]))]
    ordered = {}
    for name, values in columns.items():
        ordered[name] = values.copy()
        ordered[name][rows] = values[sorted_rows]
    return ordered
