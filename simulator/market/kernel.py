"""The auction's compiled loop. Read `simulator.market.plain` first: it says the same.

Paths differ by what is left of budgets. So a page is sold once with the most that any path has left, which is
also the sale of every path that has as much or enough for it, and anew on the others. A single path is always
the one with the most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import float64

from simulator.config.market import Charge, Pacing, Pricing
from simulator.kept_code import jit_kept
from simulator.market.draws import CLICK, CONVERSION, THROTTLE, as_uniform, fold, key
from simulator.market.pages import F8, I8, Book, Pages, Rules, Shown
from simulator.market.selling import (
    FREE,
    PER_CLICK,
    PER_CONVERSION,
    PER_IMPRESSION,
    SHADED,
    SOLD,
    THROTTLED,
    Candidates,
    Path,
    Purse,
    Terms,
    alike,
    bill,
    inlined,
    no_candidates,
    no_sale,
    sell,
)
from simulator.metrics import OUTCOMES

# Prices by name, as in `simulator.market.plain`, with its arguments -> currency per click.
PRICES: dict[Pricing, Callable[[float, float, float, float, float], float]] = {}
_PACINGS: dict[Pacing, int] = {"none": FREE, "throttle": THROTTLED, "shade": SHADED}
_CHARGES: dict[Charge, int] = {"click": PER_CLICK, "impression": PER_IMPRESSION, "conversion": PER_CONVERSION}


class _Trace(NamedTuple):
    """The pages, (R, ...) each; pCVR of no rows if it is the ad's, `rest` of none if pages are whole."""

    request_id: Any
    slots: Any
    day: Any
    time_s: Any
    candidates: Any
    pctr: Any
    pcvr: Any
    p_click: Any
    p_convert: Any
    rest: Any


class _Ads(NamedTuple):
    """What is known of ads, (A,) each."""

    pcvr: Any
    tcpa: Any
    advertiser: Any
    seen: Any  # row of the page that had it last


class _Keys(NamedTuple):
    """(P,) what the paths' draws start from."""

    click: Any
    conversion: Any
    throttle: Any


class _Counts(NamedTuple):
    """What comes of pages, see `simulator.market.auction.Paths`."""

    expected: Any
    totals: Any
    clicks: Any
    conversions: Any
    value: Any
    sums: Any  # (5,) a page's own
    alone: Any  # (P + 1,) whether a path needs a sale of its own of a page


def pricing(name: Pricing) -> Callable[[Any], Any]:
    """Names a price as `market.pricing` does."""

    def named(price: Any) -> Any:
        PRICES[name] = price
        return price

    return named


@cache
def _compiled(name: Pricing) -> Any:
    """A price to be called by its address, so that one compiled loop serves all."""
    return numba.cfunc(float64(float64, float64, float64, float64, float64), cache=True)(PRICES[name])


@pricing("gsp")
def second_price(
    own: float, least_ecpm: float, displaced_ecpm: float, reserve_ecpm: float, pctr: float
) -> float:
    """See plain."""
    return least_ecpm / (1000.0 * pctr)


@pricing("first")
def first_price(
    own: float, least_ecpm: float, displaced_ecpm: float, reserve_ecpm: float, pctr: float
) -> float:
    """See plain."""
    return own


@pricing("vcg")
def displaced(
    own: float, least_ecpm: float, displaced_ecpm: float, reserve_ecpm: float, pctr: float
) -> float:
    """See plain."""
    return displaced_ecpm / (1000.0 * pctr)


def auction_loop(
    order: Any,
    pages: Pages,
    book: Book,
    budgets: Any,
    rules: Rules,
    seeds: Sequence[int],
    shown: Shown,
    out: tuple[Any, ...],
) -> int:
    """Run pages on every path, and fill in place what came of it, until one cannot be sold as it is given.

    Args:
        order: (R,) row order.
        seeds: of the P paths' draws.
        shown: (R, S) arrays for the first path's pages; of no rows, they are not kept.
        out: (expected, totals, spend, clicks, conversions, value, pressure, since_s), see
            `simulator.market.auction.Paths`.

    Returns:
        How many were run; of the next one, whose best candidates alone are given, more must be known.
    """
    expected, totals, spend, clicks, conversions, value, pressure, since_s = out
    wide, slots = pages.candidates.shape[1], pages.p_click.shape[2]
    left = budgets - spend
    if len(seeds) > 1:
        left = np.concatenate([left, left.max(axis=0, keepdims=True)])
    weights = np.array([rules.slot_weight(s) for s in range(slots)])
    keys = [[key(seed, cause) for seed in seeds] for cause in (CLICK, CONVERSION, THROTTLE)]
    sums, alone = np.zeros(len(OUTCOMES)), np.zeros(len(left), np.bool_)
    done: int = _loop(
        _whole(order),
        _Trace(
            request_id=np.ascontiguousarray(pages.request_id, np.uint64),
            slots=_whole(pages.slots),
            day=_whole(pages.budget_row),
            time_s=_real(pages.time_s),
            candidates=_whole(pages.candidates),
            pctr=_real(pages.pctr),
            pcvr=_real(np.empty((0, 0)) if pages.pcvr is None else pages.pcvr),
            p_click=_real(pages.p_click),
            p_convert=_real(pages.p_convert),
            rest=_real(np.empty(0) if pages.rest is None else pages.rest),
        ),
        _Ads(_real(book.pcvr), _real(book.tcpa), _whole(book.advertiser), np.full(len(book.tcpa), -1)),
        Purse(_real(budgets), spend, _real(left), pressure, since_s),
        Terms(float(rules.reserve_ecpm), _compiled(rules.pricing), _CHARGES[rules.charge], weights),
        _PACINGS[rules.pacing],
        _Keys(*np.array(keys, np.uint64)),
        no_candidates(wide),
        (no_sale(wide, slots), no_sale(wide, slots)),
        _Counts(expected, totals, clicks, conversions, value, sums, alone),
        tuple(vars(shown).values()),
    )
    return done


def _whole(values: Any) -> I8:
    return np.ascontiguousarray(values, np.int64)


def _real(values: Any) -> F8:
    return np.ascontiguousarray(values, np.float64)


@jit_kept
def _loop(  # type: ignore[no-untyped-def]
    order, trace, ads, purse, terms, pacing, keys, page, sales, counts, shown
):  # fmt: skip
    """Returns how many pages were auctioned: all, or those before the first that cannot be as it is given."""
    for i in range(len(order)):
        if not _auction(order[i], trace, ads, purse, terms, pacing, keys, page, sales, counts, shown):
            return i
    return len(order)


@inlined
def _auction(  # type: ignore[no-untyped-def]
    r, trace, ads, purse, terms, pacing, keys, page, sales, counts, shown
):  # fmt: skip
    """One page on all paths; returns whether it could be sold. If not, nothing has come of it."""
    _read_page(r, trace, ads, terms.reserve, page)
    first, request = len(counts.totals) - len(purse.left), trace.request_id[r]
    for answers in range(2):
        for p in range(first, len(counts.totals)):
            paced = FREE if p < 0 else pacing
            state = request if paced == FREE else fold(keys.throttle[p], request)
            path = Path(p, trace.day[r], trace.time_s[r], paced, state)
            which = 0 if p == first else 1
            if answers == 0:
                counts.alone[p - first] = p > first and not alike(page, purse, path, terms, sales[0])
            if which == 0:
                sells = answers == 0
            else:  # a sale of its own; that of a short page is tried before anyone answers
                sells = counts.alone[p - first] and (answers == 1 or page.rest[0] > 0.0)
            if sells and not sell(trace.slots[r], page, purse, path, terms, sales[which]):
                return False
            if answers == 0 or p < 0:
                continue
            sale = sales[which if counts.alone[p - first] else 0]
            counts.sums[:] = 0.0
            for s in range(sale.state[SOLD]):
                _answer(r, s, trace, ads, purse, path, terms, keys, page, sale, counts, shown)
            for k in range(len(counts.sums)):
                counts.expected[r, k] += counts.sums[k]
                counts.totals[p, k] += counts.sums[k]
    return True


@inlined
def _read_page(r: int, trace: _Trace, ads: _Ads, reserve: float, page: Candidates) -> None:
    """Fill in a request's candidates."""
    page.rest[0] = trace.rest[r] if len(trace.rest) > 0 and trace.rest[r] >= reserve else 0.0
    for c in range(len(page.ad)):
        a = trace.candidates[r, c]
        page.ad[c], page.full[c] = a, 0.0
        if a < 0 or ads.seen[a] == r:
            continue  # an ad's first appearance counts
        ads.seen[a] = r
        page.owner[c], page.pctr[c] = ads.advertiser[a], trace.pctr[r, c]
        page.pcvr[c] = trace.pcvr[r, c] if len(trace.pcvr) > 0 else ads.pcvr[a]
        page.bid[c] = page.pcvr[c] * ads.tcpa[a]
        e = 1000.0 * page.pctr[c] * page.bid[c]
        page.full[c] = e if e >= reserve else 0.0


@inlined
def _answer(  # type: ignore[no-untyped-def]
    r, s, trace, ads, purse, path, terms, keys, page, sale, counts, shown
):  # fmt: skip
    """A slot is seen, perhaps clicked and converted, and paid for."""
    p, c, v, due = path.number, sale.shows[s], sale.payer[s], sale.due[s]
    request, ad, tcpa = trace.request_id[r], np.uint64(page.ad[c]), ads.tcpa[page.ad[c]]
    p_click, p_convert = trace.p_click[r, c, s], trace.p_convert[r, c]
    clicked = as_uniform(fold(fold(fold(keys.click[p], request), ad), np.uint64(s))) < p_click
    converted = clicked and as_uniform(fold(fold(keys.conversion[p], request), ad)) < p_convert
    chance, billed, converts = p_click, clicked, p_click * p_convert
    if terms.charge == PER_IMPRESSION:
        chance, billed = 1.0, True
    elif terms.charge == PER_CONVERSION:
        chance, billed = converts, converted
    for k, one in enumerate((1.0, p_click, converts, chance * due, converts * tcpa)):  # as in `OUTCOMES`
        counts.sums[k] += one
    if billed:
        bill(v, due, purse, path)
    if p > 0:
        return
    counts.clicks[path.day, v] += clicked
    if converted:
        counts.conversions[path.day, v] += 1
        counts.value[path.day, v] += tcpa
    if len(shown[0]) > 0:
        _keep(r, s, c, p_click, p_convert, clicked, converted, due if billed else 0.0, page, sale, shown)


@inlined
def _keep(  # type: ignore[no-untyped-def]
    r, s, c, p_click, p_convert, clicked, converted, paid, page, sale, shown
):  # fmt: skip
    """What a slot of the first path's page showed."""
    ad, pctr, pcvr, price, p_click_won, p_convert_won, click, conversion, charged = shown
    ad[r, s], pctr[r, s], pcvr[r, s], price[r, s] = page.ad[c], page.pctr[c], page.pcvr[c], sale.pays[s]
    p_click_won[r, s], p_convert_won[r, s] = p_click, p_convert
    click[r, s], conversion[r, s], charged[r, s] = clicked, converted, paid
