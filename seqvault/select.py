"""Rows of histories in memory: grouping them by user, ordering them, and choosing those a Query wants."""

import numpy as np

from seqvault.query import FIRST_S, NO_BOUND_S, Query
from seqvault.schema import Array, Columns

__all__ = ["Rows", "by_user", "in_order", "matching", "newest_of_each"]

Rows = slice | Array
# Columns by name: a dict of arrays, or an array of records.
Table = Columns | Array


def by_user(user_ids: Array) -> tuple[Array, Array, Array]:
    """Rows grouped by user, their order kept: (row order (N,), distinct users (G,), group bounds (G+1,))."""
    if user_ids.size == 0:
        return np.empty(0, "i8"), user_ids, np.zeros(1, "i8")
    if np.all(user_ids[1:] >= user_ids[:-1]):
        order: Array = np.arange(user_ids.size)
        ranked = user_ids
    else:
        order = np.argsort(user_ids, kind="stable")
        ranked = user_ids[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    return order, ranked[starts], np.append(starts, user_ids.size)


def in_order(columns: Columns) -> dict[str, Array]:
    """Rows sorted by time, equal times left in the order they have; the same arrays when already sorted."""
    times = columns["time_s"]
    if np.all(times[1:] >= times[:-1]):
        return dict(columns)
    order = np.argsort(times, kind="stable")
    return {name: values[order] for name, values in columns.items()}


def matching(columns: Table, query: Query, i: int) -> Rows:
    """The rows that a query wants of its i-th user's history.

    Args:
        columns: at least `query.keys`, sorted by (time, arrival).
    """
    times = columns["time_s"]
    end_s = query.end_s if isinstance(query.end_s, int) else int(query.end_s[i])
    end = len(times) if end_s == NO_BOUND_S else int(times.searchsorted(end_s, "left"))
    start = 0 if query.start_s == FIRST_S else min(end, int(times.searchsorted(query.start_s, "left")))
    if query.scenes is None and query.actions is None and query.distinct is None:
        return slice(max(start, end - query.n), end)
    wanted = np.ones(end - start, np.bool_)
    for name, codes in (("scene", query.scenes), ("action", query.actions)):
        if codes is not None:
            wanted &= np.isin(columns[name][start:end], codes)
    rows = np.flatnonzero(wanted) + start
    if query.distinct is not None:
        rows = rows[newest_of_each(columns[query.distinct][rows])]
    return rows[max(0, len(rows) - query.n) :]


def newest_of_each(values: Array) -> Array:
    """Positions, ascending, of the last occurrence of every distinct value."""
    _, from_end = np.unique(values[::-1], return_index=True)
    return np.sort(len(values) - 1 - from_end)
