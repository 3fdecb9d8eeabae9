"""The auction's compiled loop. Read `simulator.market.plain` first: it says the same.

Paths differ by what is left of budgets. So candidates are ranked once, as they would bid if no budget ended,
in one pass that keeps the best few, and further ones as they are asked for. A page is sold once for all paths
that have enough for it, and anew on the others, by letting candidates in, in that order, until nobody who is
still to come could bid more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import float64

from simulator.config.market import Charge, Pacing, Pricing
from simulator.kept_code import jit_kept
from simulator.market.draws import CLICK, CONVERSION, THROTTLE, as_uniform, fold, key
from simulator.market.pages import PACE, Book, Pages, Rules, Shown, pcvr_of
from simulator.market.selling import (
    FREE,
    PER_CLICK,
    PER_CONVERSION,
    PER_IMPRESSION,
    SHADED,
    THROTTLED,
    ample,
    bill,
    pressure_now,
    rank,
    room_for,
    sell,
    sell_in_order,
)

# Prices by name, as in `simulator.market.plain`, with its arguments -> currency per click.
PRICES: dict[Pricing, Callable[[float, float, float, float, float], float]] = {}
_PACINGS: dict[Pacing, int] = {"none": FREE, "throttle": THROTTLED, "shade": SHADED}
_CHARGES: dict[Charge, int] = {"click": PER_CLICK, "impression": PER_IMPRESSION, "conversion": PER_CONVERSION}


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
) -> None:
    """Run pages on every path and fill in place what came of it.

    Args:
        order: (R,) row order.
        seeds: of the P paths' draws.
        shown: (R, S) arrays for the first path's pages; of no rows, they are not kept.
        out: (expected, totals, spend, clicks, conversions, value, pressure, since_s), see
            `simulator.market.auction.Paths`.
    """
    whole = (order, pages.candidates, pages.slots, pages.budget_row)
    real = (pages.pctr, pcvr_of(pages, book), pages.p_click, pages.p_convert, book.tcpa)
    arguments: tuple[Any, ...] = (
        *(np.ascontiguousarray(a, np.int64) for a in whole),
        np.ascontiguousarray(pages.request_id, np.uint64),
        *(np.ascontiguousarray(a, np.float64) for a in real),
        np.ascontiguousarray(book.advertiser, np.int64),
        np.ascontiguousarray(budgets, np.float64),
        float(rules.reserve_ecpm),
        _compiled(rules.pricing),
        _CHARGES[rules.charge],
        np.array([rules.slot_weight(s) for s in range(pages.p_click.shape[2])]),
        np.array([key(seed, CLICK) for seed in seeds], np.uint64),
        np.array([key(seed, CONVERSION) for seed in seeds], np.uint64),
        np.ascontiguousarray(pages.time_s, np.float64),
        _PACINGS[rules.pacing],
        np.array([key(seed, THROTTLE) for seed in seeds], np.uint64),
        *(getattr(shown, field.name) for field in fields(shown)),
        *out,
    )
    _loop(*arguments)


@jit_kept
def _loop(  # type: ignore[no-untyped-def]
    order, candidates, slots, budget_row, request_id, pctr, pcvr, p_click, p_convert, tcpa, advertiser,
    budgets, reserve, price_of, charge, weights, click_keys, conversion_keys, time_s, pacing, throttle_keys,
    ad, pctr_won, pcvr_won, price, p_click_won, p_convert_won, click, conversion, charged,
    expected, totals, spend, clicks, conversions, value, pressure, since_s,
):  # fmt: skip
    wide, most, keep = candidates.shape[1], p_click.shape[2], len(ad) > 0
    rules = (reserve, price_of, charge, weights)
    ranking = (np.zeros(wide), np.zeros(wide, np.int64), np.zeros(3, np.int64))  # known, ended, looked at
    shared, own = room_for(wide, most), room_for(wide, most)
    unlimited = (np.full((1, 1, budgets.shape[2]), np.inf), np.zeros((1, 1, budgets.shape[2])), 0, 0)
    free = (FREE, pressure, since_s, 0, 0, 0.0, np.uint64(0))
    for r in order:
        day, page, ctr, book = budget_row[r], candidates[r], pctr[r], (pcvr[r], tcpa, advertiser)
        rank(page, ctr, book, reserve, ranking, min(slots[r] + 1, wide))
        # Sold once as if no budget ended: the same page on every path that has enough.
        shared_sold = sell_in_order(page, ctr, slots[r], book, rules, ranking, shared)
        if shared_sold < 0:
            shared_sold = sell(page, ctr, slots[r], book, unlimited, free, rules, ranking, shared)
        looked = ranking[2][2]
        for p in range(len(click_keys)):
            room, sold, purse, paced = shared, shared_sold, (budgets, spend, p, day), free
            if pacing != FREE:
                state = fold(throttle_keys[p], request_id[r])
                paced = (pacing, pressure, since_s, p, day, time_s[r], state)
            if not ample(page, ctr, book, purse, paced, charge, ranking, looked, shared, sold):
                room = own
                sold = sell(page, ctr, slots[r], book, purse, paced, rules, ranking, own)
            entered, _, _, who, pays, due = room
            click_state = fold(click_keys[p], request_id[r])
            clicking, converting, earning, worth = 0.0, 0.0, 0.0, 0.0  # expected, of the page
            for s in range(sold):
                c, v = entered[s], who[s]
                a = page[c]
                clicked = as_uniform(fold(fold(click_state, np.uint64(a)), np.uint64(s))) < p_click[r, c, s]
                converted = False
                if clicked and (p == 0 or charge == PER_CONVERSION):
                    state = fold(fold(conversion_keys[p], request_id[r]), np.uint64(a))
                    converted = as_uniform(state) < p_convert[r, c]
                converts = p_click[r, c, s] * p_convert[r, c]
                chance, billed = p_click[r, c, s], clicked
                if charge == PER_IMPRESSION:
                    chance, billed = 1.0, True
                elif charge == PER_CONVERSION:
                    chance, billed = converts, converted
                clicking += p_click[r, c, s]
                converting += converts
                earning += chance * due[s]
                worth += converts * tcpa[a]
                if billed:
                    bill(purse, v, due[s])
                    if pacing != FREE and due[s] > 0.0:
                        now = pressure_now(pressure[p, day, v], since_s[p, day, v], time_s[r])
                        pressure[p, day, v] = now + PACE * due[s] / budgets[p, day, v]
                        since_s[p, day, v] = time_s[r]
                if p > 0:
                    continue
                clicks[day, v] += clicked
                if converted:
                    conversions[day, v] += 1
                    value[day, v] += tcpa[a]
                if keep:
                    ad[r, s], pctr_won[r, s], pcvr_won[r, s], price[r, s] = a, ctr[c], pcvr[r, c], pays[s]
                    p_click_won[r, s], p_convert_won[r, s] = p_click[r, c, s], p_convert[r, c]
                    click[r, s], conversion[r, s] = clicked, converted
                    charged[r, s] = due[s] if billed else 0.0
            for k, total in enumerate((float(sold), clicking, converting, earning, worth)):
                expected[r, k] += total
                totals[p, k] += total
