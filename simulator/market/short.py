"""Short pages: of each the candidates that come first while no budget ends, and what the rest bid at most.

A few candidates settle nearly every page, whatever is left of budgets: nobody bids more than without them, so
who comes before all that were left out does so on every path. Where that tells too little, `Paths.run` asks
for the whole page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.kept_code import njit_kept
from simulator.market.checks import check_inputs
from simulator.market.pages import F8, I8, Book, Pages

#: Of a page so many candidates more than slots are kept.
SPARE = 5


def shortened(pages: Pages, book: Book) -> Pages:
    """The same pages with their best candidates alone, best first; -1 where a page has fewer.

    Args:
        pages: R whole ones.
        book: what the auction knows of ads.

    Returns:
        Pages of `S + SPARE` candidates, or as many as there were.

    Raises:
        MarketError: shapes or values do not fit.
    """
    advertisers = int(book.advertiser.max(initial=-1)) + 1
    free = np.full((int(pages.budget_row.max(initial=-1)) + 1, advertisers), np.inf)
    check_inputs(np.arange(len(pages.slots)), pages, book, free)
    most = min(pages.candidates.shape[1], pages.p_click.shape[2] + SPARE)
    place, rest = _best(
        np.ascontiguousarray(pages.candidates, np.int64),
        np.ascontiguousarray(pages.pctr, np.float64),
        np.empty((0, 0)) if pages.pcvr is None else np.ascontiguousarray(pages.pcvr, np.float64),
        np.ascontiguousarray(book.pcvr, np.float64),
        np.ascontiguousarray(book.tcpa, np.float64),
        most,
    )
    at = np.maximum(place, 0)

    def best(values: Any) -> NDArray[Any]:
        return np.take_along_axis(values, at, axis=1)

    return replace(
        pages,
        candidates=np.where(place >= 0, best(pages.candidates), -1),
        pctr=best(pages.pctr),
        p_click=np.take_along_axis(pages.p_click, at[:, :, None], axis=1),
        p_convert=best(pages.p_convert),
        pcvr=None if pages.pcvr is None else best(pages.pcvr),
        rest=rest,
    )


@njit_kept(nogil=True)
def _best(candidates: Any, pctr: Any, pcvr: Any, pcvr_of_ad: Any, tcpa: Any, most: int) -> tuple[I8, F8]:
    """(R, most) places of the best candidates by eCPM, as the auction reckons it, and (R,) the next one's."""
    rows, wide = candidates.shape
    places, rest = np.full((rows, most), -1), np.zeros(rows)
    seen, best = np.full(len(tcpa), -1), np.empty(most)
    for r in range(rows):
        known = 0
        for c in range(wide):
            a = candidates[r, c]
            if a < 0 or seen[a] == r:
                continue  # an ad's first appearance counts
            seen[a] = r
            bid = (pcvr[r, c] if len(pcvr) > 0 else pcvr_of_ad[a]) * tcpa[a]
            ecpm = 1000.0 * pctr[r, c] * bid
            if not ecpm > 0.0:
                continue
            if known == most:
                if ecpm <= best[known - 1]:
                    rest[r] = max(rest[r], ecpm)
                    continue
                rest[r] = max(rest[r], best[known - 1])
                known -= 1
            at = known
            while at > 0 and best[at - 1] < ecpm:
                best[at], places[r, at] = best[at - 1], places[r, at - 1]
                at -= 1
            best[at], places[r, at] = ecpm, c
            known += 1
    return places, rest
