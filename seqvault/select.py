"""Rows of histories in memory: grouping them by user, ordering them, and choosing those a Query wants."""

import numpy as np

from seqvault.errors import SchemaError, StoreError
from seqvault.query import NO_BOUND_S, Query
from seqvault.schema import Array, Columns

__all__ = [
    "Rows",
    "bounds_s",
    "by_user",
    "check_n",
    "check_users",
    "clip_s",
    "in_order",
    "matching",
    "newest",
    "newest_of_each",
    "within",
]

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
    end = len(times) if end_s == NO_BOUND_S else int(np.searchsorted(times, end_s, "left"))
    start = min(end, int(np.searchsorted(times, query.start_s, "left")))
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


def check_users(user_ids: object) -> Array:
    """(U,) u8 from anything that holds non-negative integers."""
    users = np.asarray(user_ids)
    if users.dtype == np.dtype("u8") and users.ndim == 1:
        return users
    if users.ndim != 1:
        raise SchemaError(f"user_ids has shape {users.shape}: expected (U,)")
    if users.size and (users.dtype.kind not in "iu" or int(users.min()) < 0):
        raise SchemaError("user_ids: expected non-negative integers")
    return users.astype("u8")


def check_n(n: int) -> int:
    """n, when it is a count. Raises StoreError for a negative one."""
    if n < 0:
        raise StoreError(f"n={n}: expected 0 or more behaviours")
    return int(n)


def bounds_s(before_s: object, users: int) -> list[int]:
    """before_s of each user; NO_BOUND_S where there is none."""
    if before_s is None:
        return [NO_BOUND_S] * users
    bounds = np.asarray(before_s)
    if bounds.dtype.kind == "f":
        # Times are whole seconds: t < 3.5 and t < 4 keep the same behaviours.
        bounds = np.ceil(bounds)
    if bounds.dtype.kind not in "iuf" or bounds.ndim > 1 or (bounds.ndim == 1 and len(bounds) != users):
        raise SchemaError(
            f"before_s has shape {bounds.shape}: expected a number of seconds or ({users},) of them"
        )
    return [clip_s(bound) for bound in np.broadcast_to(bounds, (users,)).tolist()]


def clip_s(time_s: int) -> int:
    """The nearest time a behaviour can have: bounds beyond it keep their meaning."""
    return max(-NO_BOUND_S - 1, min(NO_BOUND_S, int(time_s)))


def newest(columns: Table, n: int, before_s: int, scenes: Array | None) -> Rows:
    """The newest n rows with time_s < before_s, of the scenes to keep. Rows are sorted by time."""
    times = columns["time_s"]
    end = len(times) if before_s == NO_BOUND_S else int(np.searchsorted(times, before_s, "left"))
    if scenes is None:
        return slice(max(0, end - n), end)
    rows = np.flatnonzero(np.isin(columns["scene"][:end], scenes))
    return rows[max(0, len(rows) - n) :]


def within(columns: Table, start_s: int, end_s: int, scenes: Array | None) -> Rows:
    """The rows with start_s <= time_s < end_s, of the scenes to keep. Rows are sorted by time."""
    start, end = (int(i) for i in np.searchsorted(columns["time_s"], (start_s, max(start_s, end_s)), "left"))
    if scenes is None:
        return slice(start, end)
    return np.flatnonzero(np.isin(columns["scene"][start:end], scenes)) + start
