"""The auction's compiled loop. Read `simulator.market.plain` first: it says the same.

Scratch arrays are made once and reused; a request costs S + 1 passes over its candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import float64

from simulator.config.settings import Pricing
from simulator.market.draws import CLICK, CONVERSION, as_uniform, fold, key
from simulator.market.pages import Book, Pages, Rules

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
    order: Any, pages: Pages, book: Book, budgets: Any, rules: Rules, seed: int, out: tuple[Any, ...]
) -> None:
    """Fill `out` (ad, where, price, charged, click, conversion, expected_paid, spend) in place."""
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
        key(seed, CLICK),
        key(seed, CONVERSION),
    )
    _loop(*arguments, *out)


@numba.njit(cache=True)
def _first_appearance(candidates: Any, c: int) -> bool:
    for before in range(c):  # noqa: SIM110  # numba compiles no generator expressions
        if candidates[before] == candidates[c]:
            return False
    return True


@numba.njit(cache=True)
def _best(ecpm: Any, candidates: Any, taken: Any) -> int:
    """Index of the highest eCPM not yet taken, ties to the lower ad; -1 if none is left."""
    best = -1
    for c in range(len(candidates)):
        if taken[c] or ecpm[c] <= 0.0:
            continue
        if best < 0 or ecpm[c] > ecpm[best] or (ecpm[c] == ecpm[best] and candidates[c] < candidates[best]):
            best = c
    return best


@numba.njit(cache=True)
def _loop(  # type: ignore[no-untyped-def]
    order, candidates, slots, budget_row, request_id, pctr, p_click, p_convert, pcvr, tcpa, advertiser,
    budgets, reserve, price_of, per_click, click_key, conversion_key,
    ad, where, price, charged, click, conversion, expected_paid, spend,
):  # fmt: skip
    wide = candidates.shape[1]
    ecpm, taken = np.zeros(wide), np.zeros(wide, np.bool_)
    for r in order:
        day = budget_row[r]
        for c in range(wide):
            taken[c] = False
            a = candidates[r, c]
            ecpm[c] = 0.0
            if a < 0 or spend[day, advertiser[a]] >= budgets[day, advertiser[a]]:
                continue
            if not _first_appearance(candidates[r], c):
                continue
            e = 1000.0 * pctr[r, c] * pcvr[a] * tcpa[a]
            if e >= reserve:
                ecpm[c] = e
        winner = _best(ecpm, candidates[r], taken)
        click_state = fold(click_key, request_id[r])
        conversion_state = fold(conversion_key, request_id[r])
        for s in range(slots[r]):
            if winner < 0:
                break
            taken[winner] = True
            runner_up = _best(ecpm, candidates[r], taken)
            a = candidates[r, winner]
            own = pcvr[a] * tcpa[a]
            least = reserve if runner_up < 0 else ecpm[runner_up]
            pays = min(own, price_of(own, least, reserve, pctr[r, winner]))
            v = advertiser[a]
            left = budgets[day, v] - spend[day, v]
            state = fold(fold(click_state, np.uint64(a)), np.uint64(s))
            clicked = as_uniform(state) < p_click[r, winner, s]
            due = pays if per_click else pays * pctr[r, winner]
            due = min(due, left)
            ad[r, s], where[r, s], price[r, s], click[r, s] = a, winner, pays, clicked
            expected_paid[r, s] = p_click[r, winner, s] * due if per_click else due
            if clicked or not per_click:
                charged[r, s] = due
                # min: the sum of what was paid may exceed the budget by a rounding step.
                spend[day, v] = budgets[day, v] if due == left else min(spend[day, v] + due, budgets[day, v])
            if clicked:
                conversion[r, s] = as_uniform(fold(conversion_state, np.uint64(a))) < p_convert[r, winner]
            winner = runner_up
