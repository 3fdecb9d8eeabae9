"""How a page's slots are sold, compiled: the parts of `kernel.py`'s loop. Start at `sell`.

Arguments that go through all of it, as tuples:

    book      pcvr (C,) of the page, tcpa and advertiser by ad
    rules     reserve, price, what is charged for, slot weights
    ranking   (C,) eCPM if no budget ended, negative once taken; their order as far as it is known; how many
              those are, whether nobody is left, how many of them this sale has looked at
    purse     budgets and spend (P, B, V); which path; which day
    paced     how advertisers pace; their pressure and since when (P, B, V); path; day; time; the draw's state
    room      a page's sale: who may show, and their eCPM, best first; others' below a slot; by slot, whose it
              is, its price, what is due
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from simulator.market.draws import as_uniform, fold
from simulator.market.pages import DAY_S, NEARLY, PACE

PER_CLICK, PER_IMPRESSION, PER_CONVERSION = range(3)
FREE, THROTTLED, SHADED = range(3)


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
def _bid(own: float, left: float, pctr: float, pcvr: float, charge: int) -> float:
    """The own bid per click, or the most per click that a budget can pay."""
    if not left > 0.0 or pctr == 0.0 or pcvr == 0.0:
        return 0.0
    if charge == PER_IMPRESSION:
        return min(own, left / pctr)
    return min(own, left * pcvr if charge == PER_CONVERSION else left)


@numba.njit(cache=True)
def pressure_now(pressure: float, since_s: float, time_s: float) -> float:
    """How far an advertiser is ahead of its day's budget, now."""
    return max(0.0, pressure - PACE * max(0.0, time_s - since_s) / DAY_S)


@numba.njit(cache=True)
def _share(paced: Any, v: int) -> float:
    """What pacing leaves of an advertiser's bids on this page."""
    kind, pressure, since_s, p, day, time_s, state = paced
    if kind == FREE:
        return 1.0
    left = 1.0 / (1.0 + pressure_now(pressure[p, day, v], since_s[p, day, v], time_s))
    if kind == SHADED:
        return left
    return 1.0 if as_uniform(fold(state, np.uint64(v))) < left else 0.0


@numba.njit(cache=True)
def _charge(pays: float, pctr: float, pcvr: float, charge: int) -> float:
    """What a price per click is, per what is charged for."""
    if charge == PER_IMPRESSION:
        return pays * pctr
    return pays / pcvr if charge == PER_CONVERSION else pays


@numba.njit(cache=True)
def _left(v: int, purse: Any, who: Any, due: Any, sold: int) -> float:
    """Of a budget of the day, less what the page's slots that are sold may cost."""
    budgets, spend, p, day = purse
    aside = 0.0
    for s in range(sold):
        if who[s] == v:
            aside += due[s]
    left: float = budgets[p, day, v] - spend[p, day, v] - aside
    return left


@numba.njit(cache=True)
def room_for(wide: int, most: int) -> Any:
    """For a page: who may show, their eCPM, best first; others' below a slot; by slot, whose, price, due."""
    seats = (np.zeros(most, np.int64), np.zeros(most), np.zeros(most))
    return (np.zeros(wide + 1, np.int64), np.zeros(wide + 1), np.zeros(most), *seats)


@numba.njit(cache=True)
def rank(page, ctr, book, reserve, ranking, enough):  # type: ignore[no-untyped-def]
    """Begin a page's ranking: every candidate's eCPM if no budget ended, and the best few in order."""
    pcvr, tcpa, _ = book
    ecpm, ranked, progress = ranking
    known, least = 0, 0.0
    for c in range(len(page)):
        a, e = page[c], 0.0
        if a >= 0:
            e = 1000.0 * ctr[c] * (pcvr[c] * tcpa[a])
            e = e if e >= reserve else 0.0
        ecpm[c] = e
        if e <= 0.0 or (known == enough and (e < least or (e == least and a > page[ranked[known - 1]]))):
            continue
        if not _first_appearance(page, c):
            continue
        at = known if known < enough else known - 1  # the last of them gives way
        known = at + 1
        while at > 0:
            other = ranked[at - 1]
            if ecpm[other] > e or (ecpm[other] == e and page[other] < a):
                break
            ranked[at] = other
            at -= 1
        ranked[at] = c
        least = ecpm[ranked[known - 1]]
    for k in range(known):
        ecpm[ranked[k]] = -ecpm[ranked[k]]  # taken, see `_next_best`
    progress[0], progress[1], progress[2] = known, 0, 0


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
    eCPM if no budget ended is the `bound`.
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
    page, ctr, slots, book, purse, paced, rules, ranking, room, sold, end
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
        left = _left(v, purse, who, due, sold)
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
def sell(  # type: ignore[no-untyped-def]
    page, ctr, slots, book, purse, paced, rules, ranking, room
):  # fmt: skip
    """Sell a page's slots, the top one first, before anyone clicks; returns how many were sold."""
    pcvr, tcpa, advertiser = book
    reserve, price_of, charge, weights = rules
    entered, _, below, who, pays, due = room
    ranking[2][2] = 0
    sold, end = 0, 0
    while sold < slots:
        others, end = _enter(page, ctr, slots, book, purse, paced, rules, ranking, room, sold, end)
        if others < 0:
            break  # nobody is left for the slot
        below[others : slots - sold] = reserve
        c = entered[sold]
        a, v = page[c], advertiser[page[c]]
        left = _left(v, purse, who, due, sold)
        own = _bid(pcvr[c] * tcpa[a] * _share(paced, v), left, ctr[c], pcvr[c], charge)
        lost = _displaced(below, weights, sold, slots)
        pays[sold] = min(own, price_of(own, below[0], lost, reserve, ctr[c]))
        due[sold] = min(_charge(pays[sold], ctr[c], pcvr[c], charge), left)
        who[sold] = v
        sold += 1
        if left < np.inf and sold < slots:
            end = _lower(page, ctr, book, purse, paced, rules, room, sold, end, v)
    return sold


@numba.njit(cache=True)
def sell_in_order(page, ctr, slots, book, rules, ranking, room):  # type: ignore[no-untyped-def]
    """Sell a page as if no budget ended, where its best are of as many advertisers: in their order.

    It is what `sell` would do, an order of magnitude faster.

    Returns:
        How many slots were sold; -1 where an advertiser has two of the best.
    """
    pcvr, tcpa, advertiser = book
    reserve, price_of, charge, weights = rules
    ecpm, ranked, progress = ranking
    entered, _, below, who, pays, due = room
    known = progress[0]
    for k in range(known):
        for j in range(k):
            if advertiser[page[ranked[j]]] == advertiser[page[ranked[k]]]:
                return -1
    progress[2] = known
    sold = min(known, slots)
    for s in range(sold):
        for k in range(slots - s):
            below[k] = -ecpm[ranked[s + 1 + k]] if s + 1 + k < known else reserve
        c = ranked[s]
        own = pcvr[c] * tcpa[page[c]]
        lost = _displaced(below, weights, s, slots)
        pays[s] = min(own, price_of(own, below[0], lost, reserve, ctr[c]))
        due[s] = _charge(pays[s], ctr[c], pcvr[c], charge)
        entered[s], who[s] = c, advertiser[page[c]]
    return sold


@numba.njit(cache=True)
def _lower(  # type: ignore[no-untyped-def]
    page, ctr, book, purse, paced, rules, room, sold, end, v
):  # fmt: skip
    """After a sale the advertiser's other ads have less budget; returns the new end of those entered."""
    pcvr, tcpa, advertiser = book
    reserve, _, charge, _ = rules
    entered, bids, _, who, _, due = room
    left, share = _left(v, purse, who, due, sold), _share(paced, v)
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
def ample(  # type: ignore[no-untyped-def]
    page, ctr, book, purse, paced, charge, ranking, looked, room, sold
):  # fmt: skip
    """Whether a path's budgets and pacing let everyone a page looked at bid in full for any of its slots.

    With a millionth to spare, so that a rounding step in a charge makes no difference either.
    """
    pcvr, tcpa, advertiser = book
    for k in range(looked):
        c = ranking[1][k]
        a = page[c]
        left = _left(advertiser[a], purse, room[3], room[5], sold)
        if not _bid(np.inf, left, ctr[c], pcvr[c], charge) > 1.000001 * pcvr[c] * tcpa[a]:
            return False
        if _share(paced, advertiser[a]) < 1.0:
            return False
    return True


@numba.njit(cache=True)
def bill(purse: Any, v: int, due: float) -> None:
    """A path's advertiser pays."""
    budgets, spend, p, day = purse
    after, budget = spend[p, day, v] + due, budgets[p, day, v]
    spend[p, day, v] = budget if after >= NEARLY * budget else after
