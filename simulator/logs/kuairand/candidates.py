"""Which ads a logged request could have shown: what the platform was showing at that moment.

Letters: N impressions, R requests, C candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.trace import TraceError

I8 = NDArray[np.int64]

_ROWS = 4096
_WINDOW = 64  # impressions looked at on either side at first; doubled where it does not suffice
_FAR = np.iinfo(np.int64).max


def nearest_candidates(time_ms: I8, ad: I8, request_ms: I8, request_row: I8, width: int) -> I8:
    """The `width` distinct ads exposed nearest in time to each request, its own exposed ads first.

    Of two equally near the earlier exposure goes first, then the one that comes first in the log. An
    ad is counted at its nearest exposure. The list is returned in ascending order of the ads, so that
    nothing distinguishes the exposed ad from the others.

    Args:
        time_ms, ad: (N,) the log, ascending in time.
        request_ms: (R,) when each request came.
        request_row: (R,) its first row in the log.
        width: C.

    Returns:
        (R, C) ads.

    Raises:
        TraceError: the log has fewer than C distinct ads.
    """
    distinct = len(np.unique(ad))
    if distinct < width:
        raise TraceError(
            f"The log shows {distinct} different videos, expected at least {width}, a request's candidates. "
            "Use more of the log."
        )
    chosen = np.empty((len(request_ms), width), np.int64)
    for first in range(0, len(request_ms), _ROWS):
        rows = np.arange(first, min(first + _ROWS, len(request_ms)))
        window = _WINDOW
        while len(rows):
            part, done = _within(time_ms, ad, request_ms[rows], request_row[rows], width, window)
            chosen[rows[done]] = part[done]
            rows = rows[~done]
            window *= 2
            if len(rows) and window > 64 * _WINDOW:
                # Dull logs, one ad shown thousands of times running: few rows at a time bound the memory.
                for row in rows:
                    chosen[row] = _within(time_ms, ad, request_ms[[row]], request_row[[row]], width, len(ad))[
                        0
                    ][0]
                rows = rows[:0]
    chosen.sort(axis=1)
    return chosen


def _within(
    time_ms: I8, ad: I8, at_ms: I8, at_row: I8, width: int, window: int
) -> tuple[I8, NDArray[np.bool_]]:
    """The nearest ads (n, width) among `window` rows on either side, and where that is sure."""
    n = len(time_ms)
    low, high = np.maximum(at_row - window, 0), np.minimum(at_row + window + 1, n)
    row = low[:, None] + np.arange(int((high - low).max()))
    inside = row < high[:, None]
    row = np.minimum(row, n - 1)
    distance = np.where(inside, np.abs(time_ms[row] - at_ms[:, None]), _FAR)
    # Rows stand in the log's order, so a stable sort puts the earlier of two equally near first.
    order = np.argsort(distance, axis=1, kind="stable")
    distance = np.take_along_axis(distance, order, axis=1)
    shown = np.take_along_axis(ad[row], order, axis=1)
    new = _first_of_each(shown) & (distance < _FAR)
    rank = np.cumsum(new, axis=1)
    enough = rank[:, -1] >= width
    picked = new & (rank <= width)
    # The farthest one picked must be nearer than anything a wider window could add.
    farthest = np.where(picked, distance, -1).max(axis=1)
    edge_low = np.where(low > 0, np.abs(time_ms[low] - at_ms), _FAR)
    edge_high = np.where(high < n, np.abs(time_ms[np.maximum(high - 1, 0)] - at_ms), _FAR)
    done = enough & (farthest < np.minimum(edge_low, edge_high))
    found = np.zeros((len(at_row), width), np.int64)
    at, column = np.nonzero(picked & done[:, None])
    found[at, rank[at, column] - 1] = shown[at, column]
    return found, done


def _first_of_each(values: I8) -> NDArray[np.bool_]:
    """Whether an entry is its row's first of that value."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    first = np.ones(values.shape, np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    mask = np.empty_like(first)
    np.put_along_axis(mask, order, first, axis=1)
    return mask
