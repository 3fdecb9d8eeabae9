"""The auction's compiled loop. Read `simulator.market.plain` first: it says the same.

A page is won in the same order of eCPM on every path; paths differ by whose budget is left. So candidates
are ranked once, S + 1 passes over them, or more where budgets are empty, and every further path costs a short
walk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import float64

from simulator.config.market import Pricing
from simulator.market.draws import CLICK, CONVERSION, as_uniform, fold, key
from simulator.market.pages import Book, Pages, Rules, Shown

# Prices by name, as in `simulator.market.plain`: (own, least_ecpm, reserve_ecpm, pctr) -> currency per click.
PRICES: dict[Pricing, Callable[[float, float, float, float], float]] = {}


def pricing(name: Pricing) -> Callable[[Any], Any]:
    """Names a price as `market.pricing` does."""

    def named(price: Any) -> Any:
        PRICES[name] = price
        return price

    return named


@cache
def _compiled(name: Pricing) -> Any:
    """A price to be called by its address, so that one compiled loop serves all."""
    return numba.cfunc(float64(float64, float64, float64, float64), cache=True)(PRICES[name])


@pricing("gsp")
def second_price(own: float, least_ecpm: float, reserve_ecpm: float, pctr: float) -> float:
    """See plain."""
    return least_ecpm / (1000.0 * pctr)


@pricing("first")
def first_price(own: float, least_ecpm: float, reserve_ecpm: float, pctr: float) -> float:
    """See plain."""
    return own


def auction_loop(
    order: Any,
    pages: Pages,
    book: Book,
    budgets: Any,
    rules: Rules,
    seeds: Sequence[int],
    shown: Shown,
    out: tuple[Any, ...],
) -> None:
    """Run pages on every path and fill in place what came of it.

    Args:
        order: (R,) row order.
        seeds: of the P paths' draws.
        shown: (R, S) arrays for the first path's pages; of no rows, they are not kept.
        out: (expected, totals, spend, clicks, conversions, value), see `simulator.market.paths.Paths`.
    """
    whole = (order, pages.candidates, pages.slots, pages.budget_row)
    real = (pages.pctr, pages.p_click, pages.p_convert, book.pcvr, book.tcpa)
    arguments: tuple[Any, ...] = (
        *(np.ascontiguousarray(a, np.int64) for a in whole),
        np.ascontiguousarray(pages.request_id, np.uint64),
        *(np.ascontiguousarray(a, np.float64) for a in real),
        np.ascontiguousarray(book.advertiser, np.int64),
        np.ascontiguousarray(budgets, np.float64),
        float(rules.reserve_ecpm),
        _compiled(rules.pricing),
        rules.charge == "click",
        np.array([key(seed, CLICK) for seed in seeds], np.uint64),
        np.array([key(seed, CONVERSION) for seed in seeds], np.uint64),
        *(getattr(shown, field.name) for field in fields(shown)),
        *out,
    )
    _loop(*arguments)


@numba.njit(cache=True)
def _first_appearance(candidates: Any, c: int) -> bool:
    for before in range(c):  # noqa: SIM110  # numba compiles no generator expressions
        if candidates[before] == candidates[c]:
            return False
    return True


@numba.njit(cache=True)
def _next_best(ecpm: Any, candidates: Any) -> int:
    """Index of the highest eCPM left, ties to the lower ad, and take it out; -1 if none is left."""
    while True:
        best = -1
        for c in range(len(candidates)):
            e = ecpm[c]
            if e <= 0.0:
                continue
            if best < 0 or e > ecpm[best] or (e == ecpm[best] and candidates[c] < candidates[best]):
                best = c
        if best < 0:
            return -1
        ecpm[best] = -ecpm[best]  # taken; its size is still needed for prices
        if _first_appearance(candidates, best):
            return best


@numba.njit(cache=True)
def _buyers(spend: Any, budgets: Any) -> Any:
    """(B, V): on how many paths an advertiser has budget left; those on none need not be ranked."""
    count = np.zeros(budgets.shape, np.int64)
    for path in spend:
        count += path < budgets
    return count


@numba.njit(cache=True, nogil=True)
def _loop(  # type: ignore[no-untyped-def]
    order, candidates, slots, budget_row, request_id, pctr, p_click, p_convert, pcvr, tcpa, advertiser,
    budgets, reserve, price_of, per_click, click_keys, conversion_keys,
    ad, pctr_won, price, p_click_won, p_convert_won, click, conversion, charged,
    expected, totals, spend, clicks, conversions, value,
):  # fmt: skip
    wide, most, keep = candidates.shape[1], p_click.shape[2], len(ad) > 0
    ecpm, ranked, entered = np.zeros(wide), np.zeros(wide, np.int64), np.zeros(most + 1, np.int64)
    sums, buyers = np.zeros(5), _buyers(spend, budgets)
    for r in order:
        day = budget_row[r]
        for c in range(wide):
            a = candidates[r, c]
            ecpm[c] = 0.0
            if a >= 0 and buyers[day, advertiser[a]] > 0:
                e = 1000.0 * pctr[r, c] * pcvr[a] * tcpa[a]
                ecpm[c] = e if e >= reserve else 0.0
        known, ended = 0, False  # candidates are ranked once for all paths, as far as any of them looks
        for p in range(len(click_keys)):
            # Who may show is settled before the page's first click: S winners and the one who sets a price.
            count, at = 0, 0
            while count <= slots[r]:
                if at == known:
                    best = -1 if ended else _next_best(ecpm, candidates[r])
                    if best < 0:
                        ended = True
                        break
                    ranked[known] = best
                    known += 1
                v = advertiser[candidates[r, ranked[at]]]
                if spend[p, day, v] < budgets[day, v]:
                    entered[count] = ranked[at]
                    count += 1
                at += 1
            click_state = fold(click_keys[p], request_id[r])
            sums[:] = 0.0
            for s in range(min(slots[r], count)):
                c = entered[s]
                a = candidates[r, c]
                own = pcvr[a] * tcpa[a]
                least = -ecpm[entered[s + 1]] if s + 1 < count else reserve
                pays = min(own, price_of(own, least, reserve, pctr[r, c]))
                v = advertiser[a]
                left = budgets[day, v] - spend[p, day, v]
                clicked = as_uniform(fold(fold(click_state, np.uint64(a)), np.uint64(s))) < p_click[r, c, s]
                due = min(pays if per_click else pays * pctr[r, c], left)
                converts = p_click[r, c, s] * p_convert[r, c]
                sums[0] += 1.0
                sums[1] += p_click[r, c, s]
                sums[2] += converts
                sums[3] += p_click[r, c, s] * due if per_click else due
                sums[4] += converts * tcpa[a]
                if clicked or not per_click:
                    # min: the sum of what was paid may exceed the budget by a rounding step.
                    full = budgets[day, v] if due == left else min(spend[p, day, v] + due, budgets[day, v])
                    buyers[day, v] -= full >= budgets[day, v] > spend[p, day, v]
                    spend[p, day, v] = full
                if p > 0:
                    continue
                converted = False
                if clicked:
                    state = fold(fold(conversion_keys[p], request_id[r]), np.uint64(a))
                    converted = as_uniform(state) < p_convert[r, c]
                    clicks[day, v] += 1
                if converted:
                    conversions[day, v] += 1
                    value[day, v] += tcpa[a]
                if keep:
                    ad[r, s], pctr_won[r, s], price[r, s] = a, pctr[r, c], pays
                    p_click_won[r, s], p_convert_won[r, s] = p_click[r, c, s], p_convert[r, c]
                    click[r, s], conversion[r, s] = clicked, converted
                    charged[r, s] = due if clicked or not per_click else 0.0
            for k in range(5):
                expected[r, k] += sums[k]
                totals[p, k] += sums[k]
