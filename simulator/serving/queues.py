"""The compiled timing plane's queues and draws. Requests wait in lists by age, linked through their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def inlined(function: F) -> F:
    """Compile into each of its callers, which is compiled code itself. It may make no array.

    Calls, and the counting of references to the arrays that they pass, took six times as long as the work;
    and wrappers for Python would double the time that compiling takes.
    """
    options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
    compiled: F = numba.njit(forceinline=True, error_model="numpy", **options)(function)
    return compiled


@inlined
def quantile(values: Any, start: int, count: int, u: float) -> float:
    """See `grid.Mixture.quantile`."""
    x = u * (count - 1)
    i = int(x)
    low: float = values[start + i]
    if x != i:
        low += (x - i) * (values[start + i + 1] - low)
    return low


@inlined
def draw(grids: Any, g: int, place: int, size: int, u: float) -> float:
    """Seconds at probability u of grid g, at a history's place and a batch size; see `grid.Grid.at`."""
    total = 0.0
    for i in range(2):
        of_history = 1.0 * grids.history_share[g, place, i]
        if of_history == 0.0:
            continue
        for j in range(2):
            of_candidates = of_history * grids.candidates_share[g, j]
            if of_candidates == 0.0:
                continue
            for m in range(2):
                weight = of_candidates * grids.batch_share[g, size, m]
                if weight == 0.0:
                    continue
                cell = grids.cell[g, 0] + grids.history[g, place, i] * grids.cell[g, 1]
                cell += grids.candidates[g, j] * grids.cell[g, 2] + grids.batch[g, size, m]
                total += weight * quantile(grids.values, grids.start[cell], grids.samples[cell], u)
    return total


@inlined
def between(grids: Any, step: int, place: int, size: int, table: Any) -> float:
    """A table by measured history at a history between; see `predictions.py`."""
    g = step + 2
    mixed = grids.history_share[g, place, 0] * table[step, grids.history[g, place, 0], size]
    if grids.history_share[g, place, 1] != 0.0:
        mixed = mixed + grids.history_share[g, place, 1] * table[step, grids.history[g, place, 1], size]
    return float(mixed)


# Lists by age: `ends` is (lists, 2) the oldest and youngest row, -1 when empty; `links` is (R, 2) the next
# older and younger one.


@inlined
def insert(links: Any, ends: Any, counts: Any, which: int, row: int) -> None:
    """In its place by age; looked for from both ends, since that is near one of them."""
    back, front = ends[which, 1], ends[which, 0]
    while True:
        if back < row:  # -1 where the list is empty
            older, younger = back, (links[back, 1] if back >= 0 else -1)
            break
        if front > row:
            older, younger = links[front, 0], front
            break
        back, front = links[back, 0], links[front, 1]
    links[row, 0], links[row, 1] = older, younger
    if older < 0:
        ends[which, 0] = row
    else:
        links[older, 1] = row
    if younger < 0:
        ends[which, 1] = row
    else:
        links[younger, 0] = row
    counts[which] += 1


@inlined
def remove_oldest(links: Any, ends: Any, counts: Any, which: int) -> int:
    """Let the oldest go; returns it."""
    row: int = ends[which, 0]
    following = links[row, 1]
    ends[which, 0] = following
    if following < 0:
        ends[which, 1] = -1
    else:
        links[following, 0] = -1
    counts[which] -= 1
    return row


@inlined
def hold_s(
    links: Any, ends: Any, counts: Any, which: int, ready_s: Any, max_batch: int, wait_s: float, now: float
) -> float:
    """See `policy.ReadyQueue.hold_s`."""
    if wait_s == 0.0 or counts[which] >= max_batch:
        return 0.0
    least = np.inf
    row = ends[which, 0]
    while row >= 0:
        least = min(least, ready_s[row])
        row = links[row, 1]
    longest_s = least + wait_s
    return longest_s - now if longest_s > now else 0.0


# A heap of moments: of equal times the lower row goes first, and of one row what was begun first.


@inlined
def _before(moments: Any, rows: Any, kinds: Any, a: int, b: int) -> bool:
    if moments[a] != moments[b]:
        return bool(moments[a] < moments[b])
    return bool(rows[a] < rows[b] or (rows[a] == rows[b] and kinds[a] < kinds[b]))


@inlined
def _swap(moments: Any, rows: Any, kinds: Any, a: int, b: int) -> None:
    moments[a], moments[b] = moments[b], moments[a]
    rows[a], rows[b] = rows[b], rows[a]
    kinds[a], kinds[b] = kinds[b], kinds[a]


@inlined
def push(moments: Any, rows: Any, kinds: Any, size: int, at: float, row: int, kind: int) -> int:
    """Returns the new size."""
    moments[size], rows[size], kinds[size] = at, row, kind
    i = size
    while i > 0 and _before(moments, rows, kinds, i, (i - 1) >> 1):
        _swap(moments, rows, kinds, i, (i - 1) >> 1)
        i = (i - 1) >> 1
    return size + 1


@inlined
def pop(moments: Any, rows: Any, kinds: Any, size: int) -> int:
    """The first moment goes to the place behind the last; returns the new size."""
    size -= 1
    _swap(moments, rows, kinds, 0, size)
    i = 0
    while True:
        least = 2 * i + 1
        if least >= size:
            return size
        if least + 1 < size and _before(moments, rows, kinds, least + 1, least):
            least += 1
        if not _before(moments, rows, kinds, least, i):
            return size
        _swap(moments, rows, kinds, least, i)
        i = least
