"""The auction's compiled loop. Read `simulator.market.plain` first: it says the same.

Paths differ by what is left of budgets. So candidates are ranked once, with the most budget of any path, in
S + 1 passes over them or more; a page is sold once for all paths that have enough for it, and anew on the
others, by letting candidates in, in that order, until nobody who is still to come could bid more.
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
from simulator.market.pages import DAY_S, NEARLY, PACE, Book, Pages, Rules, Shown, pcvr_of

# Prices by name, as in `simulator.market.plain`, with its arguments -> currency per click.
PRICES: dict[Pricing, Callable[[float, float, float, float, float], float]] = {}
_CLICK, _IMPRESSION, _CONVERSION = range(3)
_FREE, _THROTTLE, _SHADE = range(3)
_PACINGS: dict[Pacing, int] = {"none": _FREE, "throttle": _THROTTLE, "shade": _SHADE}
_CHARGES: dict[Charge, int] = {"click": _CLICK, "impression": _IMPRESSION, "conversion": _CONVERSION}


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
        ecpm[best] = -ecpm[best]  # taken; its size still bounds what comes after it
        if _first_appearance(candidates, best):
            return best


@numba.njit(cache=True)
def _most_left(spend: Any, budgets: Any) -> Any:
    """(B, V): the most that an advertiser has left on any path, which bounds its bids on all of them."""
    most = np.zeros(budgets.shape)
    for path in spend:
        most = np.maximum(most, budgets - path)
    return most


@numba.njit(cache=True)
def _bid(own: float, left: float, pctr: float, pcvr: float, charge: int) -> float:
    """The own bid per click, or the most per click that a budget can pay."""
    if not left > 0.0 or pctr == 0.0 or pcvr == 0.0:
        return 0.0
    if charge == _IMPRESSION:
        return min(own, left / pctr)
    return min(own, left * pcvr if charge == _CONVERSION else left)


@numba.njit(cache=True)
def _pressure(pressure: float, since_s: float, time_s: float) -> float:
    """How far an advertiser is ahead of its day's budget, now."""
    return max(0.0, pressure - PACE * max(0.0, time_s - since_s) / DAY_S)


@numba.njit(cache=True)
def _share(paced: Any, v: int) -> float:
    """What pacing leaves of an advertiser's bids on this page."""
    kind, pressure, since_s, time_s, state = paced
    if kind == _FREE:
        return 1.0
    left = 1.0 / (1.0 + _pressure(pressure[v], since_s[v], time_s))
    if kind == _SHADE:
        return left
    return 1.0 if as_uniform(fold(state, np.uint64(v))) < left else 0.0


@numba.njit(cache=True)
def _charge(pays: float, pctr: float, pcvr: float, charge: int) -> float:
    """What a price per click is, per what is charged for."""
    if charge == _IMPRESSION:
        return pays * pctr
    return pays / pcvr if charge == _CONVERSION else pays


@numba.njit(cache=True)
def _left(v: int, budgets: Any, spend: Any, who: Any, due: Any, sold: int) -> float:
    """Of a budget of the day, less what the page's slots that are sold may cost."""
    aside = 0.0
    for s in range(sold):
        if who[s] == v:
            aside += due[s]
    left: float = budgets[v] - spend[v] - aside
    return left


@numba.njit(cache=True)
def _room(wide: int, most: int) -> Any:
    """For a page: who may show, their eCPM, best first; others' below a slot; by slot, whose, price, due."""
    seats = (np.zeros(most, np.int64), np.zeros(most), np.zeros(most))
    return (np.zeros(wide + 1, np.int64), np.zeros(wide + 1), np.zeros(most), *seats)


@numba.njit(cache=True)
def _bound(page, ctr, book, left, reserve, charge, ranking):  # type: ignore[no-untyped-def]
    """Begin a page's ranking: every candidate's eCPM with the most budget of any path."""
    pcvr, tcpa, advertiser = book
    ecpm, _, progress = ranking
    progress[:] = 0
    for c in range(len(page)):
        a = page[c]
        ecpm[c] = 0.0
        if a >= 0:
            e = 1000.0 * ctr[c] * _bid(pcvr[c] * tcpa[a], left[advertiser[a]], ctr[c], pcvr[c], charge)
            ecpm[c] = e if e >= reserve else 0.0


@numba.njit(cache=True)
def _put(entered: Any, bids: Any, begin: int, end: int, page: Any, c: int, e: float) -> None:
    """Insert a candidate into the places [begin, end), best first, ties to the lower ad."""
    at = end
    while at > begin:
        other = bids[at - 1]
        if other > e or (other == e and page[entered[at - 1]] < page[c]):
            break
        entered[at], bids[at] = entered[at - 1], other
        at -= 1
    entered[at], bids[at] = c, e


@numba.njit(cache=True)
def _settled(  # type: ignore[no-untyped-def]
    entered, bids, begin, end, bound, last, page, advertiser, below, enough
):  # fmt: skip
    """How many bids of others than the best entry's advertiser are settled, put into `below`; -1: none is.

    Nobody who is still to enter comes before an entry that ranks above the last one that did, `last`, whose
    eCPM on the path with the most budget is the `bound`.
    """
    v, others = -1, -1
    for k in range(begin, end):
        a = page[entered[k]]
        if bids[k] < bound or (bids[k] == bound and a > last):
            break
        if others < 0:
            v, others = advertiser[a], 0
        elif advertiser[a] != v:
            below[others] = bids[k]
            others += 1
            if others == enough:
                break
    return others


@numba.njit(cache=True)
def _enter(  # type: ignore[no-untyped-def]
    page, ctr, slots, book, budgets, spend, paced, rules, ranking, room, sold, end
):  # fmt: skip
    """Let candidates in until the next slot's winner and those below it are settled.

    Returns:
        How many bids of others stand below the winner, -1 without a winner, and the end of those entered.
    """
    pcvr, tcpa, advertiser = book
    reserve, _, charge, _ = rules
    ecpm, ranked, progress = ranking
    entered, bids, below, who, _, due = room
    enough = slots - sold
    while True:
        bound, last = np.inf, -1
        complete = progress[1] > 0 and progress[2] == progress[0]
        if complete:
            bound = 0.0
        elif progress[2] > 0:
            last = ranked[progress[2] - 1]
            bound, last = -ecpm[last], page[last]
        others = _settled(entered, bids, sold, end, bound, last, page, advertiser, below, enough)
        if others == enough or complete:
            return others, end
        if (
            progress[2] == progress[0]
        ):  # candidates are ranked once for all paths, as far as any of them looks
            c = _next_best(ecpm, page)
            if c < 0:
                progress[1] = 1
                continue
            ranked[progress[0]] = c
            progress[0] += 1
        c = ranked[progress[2]]
        progress[2] += 1
        a = page[c]
        v = advertiser[a]
        left = _left(v, budgets, spend, who, due, sold)
        e = 1000.0 * ctr[c] * _bid(pcvr[c] * tcpa[a] * _share(paced, v), left, ctr[c], pcvr[c], charge)
        if e > 0.0 and e >= reserve:
            _put(entered, bids, sold, end, page, c, e)
            end += 1


@numba.njit(cache=True)
def _displaced(below: Any, weights: Any, slot: int, slots: int) -> float:
    """What others would earn more if the winner of the slot were away: each moves up by a slot."""
    total = 0.0
    for k in range(slots - slot):
        after = weights[slot + k + 1] if slot + k + 1 < slots else 0.0
        total += (weights[slot + k] - after) / weights[slot] * below[k]
    return total


@numba.njit(cache=True)
def _sell(  # type: ignore[no-untyped-def]
    page, ctr, slots, book, budgets, spend, paced, rules, ranking, room
):  # fmt: skip
    """Sell a page's slots, the top one first, before anyone clicks; returns how many were sold."""
    pcvr, tcpa, advertiser = book
    reserve, price_of, charge, weights = rules
    entered, _, below, who, pays, due = room
    ranking[2][2] = 0
    sold, end = 0, 0
    while sold < slots:
        others, end = _enter(page, ctr, slots, book, budgets, spend, paced, rules, ranking, room, sold, end)
        if others < 0:
            break  # nobody is left for the slot
        below[others : slots - sold] = reserve
        c = entered[sold]
        a, v = page[c], advertiser[page[c]]
        left = _left(v, budgets, spend, who, due, sold)
        own = _bid(pcvr[c] * tcpa[a] * _share(paced, v), left, ctr[c], pcvr[c], charge)
        lost = _displaced(below, weights, sold, slots)
        pays[sold] = min(own, price_of(own, below[0], lost, reserve, ctr[c]))
        due[sold] = min(_charge(pays[sold], ctr[c], pcvr[c], charge), left)
        who[sold] = v
        sold += 1
        if left < np.inf and sold < slots:
            end = _lower(page, ctr, book, budgets, spend, paced, rules, room, sold, end, v)
    return sold


@numba.njit(cache=True)
def _lower(  # type: ignore[no-untyped-def]
    page, ctr, book, budgets, spend, paced, rules, room, sold, end, v
):  # fmt: skip
    """After a sale the advertiser's other ads have less budget; returns the new end of those entered."""
    pcvr, tcpa, advertiser = book
    reserve, _, charge, _ = rules
    entered, bids, _, who, _, due = room
    left, share = _left(v, budgets, spend, who, due, sold), _share(paced, v)
    k = sold
    while k < end:
        c = entered[k]
        a = page[c]
        if advertiser[a] == v:
            e = 1000.0 * ctr[c] * _bid(pcvr[c] * tcpa[a] * share, left, ctr[c], pcvr[c], charge)
            if e < bids[k]:
                end -= 1
                for j in range(k, end):
                    entered[j], bids[j] = entered[j + 1], bids[j + 1]
                if e > 0.0 and e >= reserve:
                    _put(entered, bids, k, end, page, c, e)
                    end += 1
                continue
        k += 1
    return end


@numba.njit(cache=True)
def _ample(  # type: ignore[no-untyped-def]
    page, ctr, book, budgets, spend, paced, charge, ranking, looked, room, sold
):  # fmt: skip
    """Whether a path's budgets and pacing let everyone a page looked at bid in full for any of its slots.

    With a millionth to spare, so that a rounding step in a charge makes no difference either.
    """
    pcvr, tcpa, advertiser = book
    for k in range(looked):
        c = ranking[1][k]
        a = page[c]
        left = _left(advertiser[a], budgets, spend, room[3], room[5], sold)
        if not _bid(np.inf, left, ctr[c], pcvr[c], charge) > 1.000001 * pcvr[c] * tcpa[a]:
            return False
        if _share(paced, advertiser[a]) < 1.0:
            return False
    return True


@numba.njit(cache=True)
def _bill(budgets: Any, spend: Any, most_left: Any, p: int, day: int, v: int, due: float) -> None:
    """A path's advertiser pays."""
    before, budget = spend[p, day, v], budgets[day, v]
    after = before + due
    spend[p, day, v] = budget if after >= NEARLY * budget else after
    if before < budget < np.inf and budget - before >= most_left[day, v]:
        most_left[day, v] = 0.0
        for q in range(len(spend)):
            most_left[day, v] = max(most_left[day, v], budget - spend[q, day, v])


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
    shared, own = _room(wide, most), _room(wide, most)
    nothing, sums, most_left = np.zeros(budgets.shape[1]), np.zeros(5), _most_left(spend, budgets)
    for r in order:
        day, page, ctr, book = budget_row[r], candidates[r], pctr[r], (pcvr[r], tcpa, advertiser)
        _bound(page, ctr, book, most_left[day], reserve, charge, ranking)
        # Sold once with the most budget of any path: the same page on every path that has enough.
        free = (_FREE, nothing, nothing, 0.0, np.uint64(0))
        shared_sold = _sell(page, ctr, slots[r], book, most_left[day], nothing, free, rules, ranking, shared)
        looked = ranking[2][2]
        for p in range(len(click_keys)):
            room, sold, left = shared, shared_sold, (budgets[day], spend[p, day])
            state = fold(throttle_keys[p], request_id[r])
            paced = (pacing, pressure[p, day], since_s[p, day], time_s[r], state)
            if (len(click_keys) > 1 or pacing != _FREE) and not _ample(
                page, ctr, book, *left, paced, rules[2], ranking, looked, shared, sold
            ):
                room = own
                sold = _sell(page, ctr, slots[r], book, *left, paced, rules, ranking, own)
            entered, _, _, who, pays, due = room
            click_state = fold(click_keys[p], request_id[r])
            sums[:] = 0.0
            for s in range(sold):
                c, v = entered[s], who[s]
                a = page[c]
                clicked = as_uniform(fold(fold(click_state, np.uint64(a)), np.uint64(s))) < p_click[r, c, s]
                converted = False
                if clicked and (p == 0 or charge == _CONVERSION):
                    state = fold(fold(conversion_keys[p], request_id[r]), np.uint64(a))
                    converted = as_uniform(state) < p_convert[r, c]
                converts = p_click[r, c, s] * p_convert[r, c]
                chance, billed = p_click[r, c, s], clicked
                if charge == _IMPRESSION:
                    chance, billed = 1.0, True
                elif charge == _CONVERSION:
                    chance, billed = converts, converted
                sums[0] += 1.0
                sums[1] += p_click[r, c, s]
                sums[2] += converts
                sums[3] += chance * due[s]
                sums[4] += converts * tcpa[a]
                if billed:
                    _bill(budgets, spend, most_left, p, day, v, due[s])
                    if pacing != _FREE and due[s] > 0.0:
                        now = _pressure(pressure[p, day, v], since_s[p, day, v], time_s[r])
                        pressure[p, day, v] = now + PACE * due[s] / budgets[day, v]
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
            for k in range(5):
                expected[r, k] += sums[k]
                totals[p, k] += sums[k]
