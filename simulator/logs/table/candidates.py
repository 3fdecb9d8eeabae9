"""Which ads a logged request could have shown: what it showed, what the log lists, and what was near in time.

Letters: N impressions, R requests, C candidates, A ads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numba as nb
import numpy as np
from numpy.typing import NDArray

from simulator.scratch import gathered
from simulator.traffic.trace import TraceError

I8 = NDArray[np.int64]

_AT_ONCE = 1 << 16  # requests whose candidates are in memory together


def candidates_of(
    time_ms: I8, ad: NDArray[np.int32], request: I8, first: I8, given: tuple[I8, I8] | None, width: int
) -> NDArray[np.uint64]:
    """The `width` distinct ads of each request, in ascending order, so that nothing marks the exposed ones.

    First what the request showed, then what the log lists for it, then the ads exposed nearest to it in time.

    Args:
        time_ms, ad, request: (N,) the log, ascending in time, requests numbered from 0 in their order.
        first: (R,) the first row of each request.
        given: rows of the log and the ads that it lists there, in the list's order; None for none.
        width: C.

    Returns:
        (R, C) ads, in a temporary file (`simulator.scratch`).

    Raises:
        TraceError: the log has fewer than C distinct ads.
    """
    ads = int(max(ad.max(), given[1].max(initial=0) if given else 0)) + 1
    distinct = len(np.unique(np.concatenate([ad, given[1]]) if given else ad))
    if distinct < width:
        raise TraceError(
            f"The log shows {distinct} different items, expected at least {width}, a request's candidates. "
            "Use more of the log, or lower impressions.width."
        )
    ends = np.append(first[1:], len(ad))
    owner = request[given[0]] if given else np.empty(0, np.int64)
    order = np.argsort(owner, kind="stable")
    listed = given[1][order].astype(np.int64) if given else np.empty(0, np.int64)
    starts = np.searchsorted(owner[order], np.arange(len(first) + 1))
    seen = np.full(ads, -1, np.int64)

    def parts() -> Iterator[dict[str, NDArray[np.uint64]]]:
        for begin in range(0, len(first), _AT_ONCE):
            chosen = np.full((min(_AT_ONCE, len(first) - begin), width), -1, np.int64)
            _fill(time_ms, ad, first, ends, listed, starts, seen, begin, chosen)
            if (chosen[:, -1] < 0).any():  # listed ads that were never exposed may be what is missing
                raise TraceError(
                    f"A request has {int((chosen >= 0).sum(axis=1).min())} candidates, expected {width}. "
                    "Lower impressions.width."
                )
            chosen.sort(axis=1)
            yield {"ads": chosen.view(np.uint64)}

    return gathered(parts())["ads"]


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


@nb.njit(cache=True)
def _fill(
    time_ms: I8,
    ad: NDArray[np.int32],
    first: I8,
    ends: I8,
    listed: I8,
    starts: I8,
    seen: I8,
    begin: int,
    found: I8,
) -> None:  # pragma: no cover - compiled
    """Walk outwards from requests `begin` and after; `seen` holds the last request that took an ad."""
    rows, width = len(time_ms), found.shape[1]
    for r in range(begin, begin + len(found)):
        chosen = found[r - begin]
        count = 0
        for row in range(first[r], ends[r]):
            if count < width and seen[ad[row]] != r:
                seen[ad[row]] = r
                chosen[count] = ad[row]
                count += 1
        for i in range(starts[r], starts[r + 1]):
            if count < width and seen[listed[i]] != r:
                seen[listed[i]] = r
                chosen[count] = listed[i]
                count += 1
        at = time_ms[first[r]]
        left, right = first[r] - 1, ends[r]
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
