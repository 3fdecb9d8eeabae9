"""Which ads a logged request could have shown: what it showed, what the log lists, and what was near in time.

Letters: N impressions, R requests, C candidates, A ads, G listed candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.kept_code import njit_kept
from simulator.scratch import let_go, slices_of
from simulator.traffic.trace import TraceError

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]

_AT_ONCE = 1 << 16  # requests whose candidates are in memory together


@dataclass(frozen=True)
class Listed:
    """The candidates that a log lists, row by row.

    Attributes:
        ad: (G,) in the order of the rows and of their lists.
        end: (N,) where those of each row end.
        came: (N, k), by which a request's rows are sorted before their lists count; None where they are.
    """

    ad: I4
    end: I8
    came: I8 | None

    def of(self, edges: I8) -> tuple[I8, I8]:
        """What is listed for n consecutive requests, and (n + 1,) where the ads of each begin.

        Args:
            edges: (n + 1,) the first row of each request, and the end of the last.
        """
        low, high = int(edges[0]), int(edges[-1])
        end = self.end[low:high]
        start = np.concatenate([self.end[low - 1 : low] if low else [0], end[:-1]]).astype(np.int64)
        bounds = np.append(start[edges[:-1] - low], end[-1])
        if self.came is not None:
            request = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
            order = np.lexsort((*self.came[low:high].T[::-1], request))
            start, end = start[order], end[order]
        count = end - start
        row = np.repeat(start - (np.cumsum(count) - count), count) + np.arange(count.sum())
        return self.ad[row].astype(np.int64), bounds - bounds[0]


def check_width(ad: I4, listed: Listed | None, ads: int, width: int) -> None:
    """Refuse a log that shows and lists too few items for a request.

    Raises:
        TraceError: the log has fewer than `width` distinct ads.
    """
    there = np.zeros(ads, np.bool_)
    for column in [ad, *([listed.ad] if listed else [])]:
        for part in slices_of(len(column), _AT_ONCE, column):
            there[column[part]] = True
    if there.sum() < width:
        raise TraceError(
            f"The log shows {there.sum()} different items, expected at least {width}, a request's "
            "candidates. Use more of the log, or lower impressions.width."
        )


def candidates_of(
    time_ms: I8, ad: I4, first: I8, listed: Listed | None, ads: int, width: int
) -> Iterator[NDArray[np.uint64]]:
    """The `width` distinct ads of each request, in ascending order, so that nothing marks the exposed ones.

    First what the request showed, then what the log lists for it, then the ads exposed nearest to it in time.

    Args:
        time_ms, ad: (N,) the log, ascending in time, rows of a request together.
        first: (R,) the first row of each request.
        listed: what the log lists; None for nothing.
        ads: A.
        width: C.

    Yields:
        (r, C) ads of r requests after the other.

    Raises:
        TraceError: a request finds fewer than C ads.
    """
    seen = np.full(ads, -1, np.int64)
    for part in slices_of(len(first), _AT_ONCE, time_ms, ad, first):
        edges = np.append(first[part], first[part.stop] if part.stop < len(first) else len(ad))
        if listed is not None:
            own, starts = listed.of(edges)
            let_go(listed.ad, listed.end)
        else:
            own, starts = np.empty(0, np.int64), np.zeros(len(edges), np.int64)
        chosen = np.full((len(edges) - 1, width), -1, np.int64)
        _fill(time_ms, ad, edges, own, starts, seen, part.start, chosen)
        if (chosen[:, -1] < 0).any():  # listed ads that were never exposed may be what is missing
            raise TraceError(
                f"A request has {int((chosen >= 0).sum(axis=1).min())} candidates, expected {width}. "
                "Lower impressions.width."
            )
        chosen.sort(axis=1)
        yield chosen.view(np.uint64)


def nearest_candidates(time_ms: I8, ad: I8, request_ms: I8, request_row: I8, width: int) -> I8:
    """The plain twin for requests of one row and no list: the nearest ads, (R, C), ascending.

    Of two equally near the earlier exposure goes first, then the one that comes first in the log. An ad is
    counted at its nearest exposure.
    """
    chosen = np.empty((len(request_row), width), np.int64)
    for r, (at, row) in enumerate(zip(request_ms, request_row, strict=True)):
        distance = np.abs(time_ms - at)
        order = np.argsort(distance, kind="stable")
        found = list(dict.fromkeys([int(ad[row]), *ad[order].tolist()]))
        chosen[r] = np.sort(found[:width])
    return chosen


@njit_kept()
def _fill(
    time_ms: I8,
    ad: I4,
    edges: I8,
    listed: I8,
    starts: I8,
    seen: I8,
    begin: int,
    found: I8,
) -> None:  # pragma: no cover - compiled
    """Walk outwards from requests `begin` and after; `seen` holds the last request that took an ad."""
    rows, width = len(time_ms), found.shape[1]
    for k in range(len(found)):
        r, chosen = begin + k, found[k]
        count = 0
        for row in range(edges[k], edges[k + 1]):
            if count < width and seen[ad[row]] != r:
                seen[ad[row]] = r
                chosen[count] = ad[row]
                count += 1
        for i in range(starts[k], starts[k + 1]):
            if count < width and seen[listed[i]] != r:
                seen[listed[i]] = r
                chosen[count] = listed[i]
                count += 1
        at = time_ms[edges[k]]
        left, right = edges[k] - 1, edges[k + 1]
        while count < width and (left >= 0 or right < rows):
            earlier = left >= 0 and (right >= rows or at - time_ms[left] <= time_ms[right] - at)
            if earlier:
                # Of one moment, the first row of the log goes first.
                low = left
                while low > 0 and time_ms[low - 1] == time_ms[left]:
                    low -= 1
                one, end = low, left + 1
                left = low - 1
            else:
                one, end = right, right + 1
                right += 1
            for row in range(one, end):
                if count < width and seen[ad[row]] != r:
                    seen[ad[row]] = r
                    chosen[count] = ad[row]
                    count += 1
