"""Days of a log that stand alone, far from all others: wrong clocks and forgotten tests. And thin days."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: So many empty days part a stray day from the log.
GAP_DAYS = 3
#: A first or last day below this share of the median day is a fragment.
FRAGMENT = 0.2


def stray_bounds(days: NDArray[Any], rows: NDArray[Any], share: float) -> tuple[int, int] | tuple[None, None]:
    """The first and last day to keep.

    Groups of days at either end, beyond GAP_DAYS empty days or more, are strays while all of them together
    hold at most `share` of the rows.

    Args:
        days: (D,) days with rows, ascending.
        rows: (D,) how many.
        share: of all rows.

    Returns:
        The days, or (None, None) where nothing is stray.
    """
    if len(days) < 2:
        return None, None
    edges = np.flatnonzero(np.diff(days) > GAP_DAYS) + 1
    groups = [int(edge) for edge in (0, *edges, len(days))]
    sizes = [int(rows[a:b].sum()) for a, b in pairwise(groups)]
    left, right, lost, allowed = 0, len(sizes), 0, share * float(rows.sum())
    while right - left > 1:
        # The smaller end first, so that one budget serves both.
        end = min((sizes[left], 0), (sizes[right - 1], 1))
        # A row or two are always few, however small the log.
        if lost + end[0] > max(allowed, 2):
            break
        lost += end[0]
        left, right = (left + 1, right) if end[1] == 0 else (left, right - 1)
    if lost == 0:
        return None, None
    return int(days[groups[left]]), int(days[groups[right] - 1])


def fragments(rows: NDArray[np.int64]) -> list[int]:
    """Of days in order, the first and last ones that are mere fragments, as numbers of days."""
    return [day for day in dict.fromkeys((0, len(rows) - 1)) if rows[day] < _least(rows)]


def last_whole(rows: NDArray[np.int64]) -> int:
    """Of days in order, the last that is no fragment and has a day before it; where none is, the last."""
    whole = np.flatnonzero(rows[1:] >= _least(rows)) + 1
    return int(whole[-1]) if len(whole) else len(rows) - 1


def _least(rows: NDArray[np.int64]) -> float:
    """Rows below which a day is a fragment."""
    filled = rows[rows > 0]
    return FRAGMENT * float(np.median(filled)) if len(filled) else 0.0
