"""How a page's slots are sold, compiled: the parts of `kernel.py`'s loop. Start at `sell`.

Letters as in `simulator.market.pages`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

from simulator.market.draws import as_uniform, fold
from simulator.market.pages import DAY_S, NEARLY, PACE

PER_CLICK, PER_IMPRESSION, PER_CONVERSION = range(3)
FREE, THROTTLED, SHADED = range(3)
# A page's eCPM are reduced to so many maxima first; a page may have any number of candidates and slots.
LANES = 16


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a part of the loop. It may make no array.

    Calls, and the counting of references to arrays, took half the time of an auction.
    """
    options: Any = {"cache": True, "forceinline": True, "error_model": "numpy", "_nrt": False}
    return numba.njit(**options)(function)


class Terms(NamedTuple):
    """The rules of the market, compiled."""

    reserve: float
    price_of: Any  # see `simulator.market.plain`
    charge: int
    weights: Any  # (S,) of the slots


class Candidates(NamedTuple):
    """A page's candidates, (C,) each."""

    ad: Any
    owner: Any  # advertiser
    pctr: Any
    pcvr: Any
    bid: Any  # per click, if no budget ended
    full: Any  # eCPM if no budget ended; 0 of who may not show, and of an ad that stands there already
    now: Any  # eCPM for the next slot, with zeros behind, up to a multiple of LANES
    rest: Any  # (1,) the most eCPM of ads that were left out of the page; 0 if none was


class Purse(NamedTuple):
    """Budgets, (P, B, V) each."""

    budgets: Any
    spend: Any
    left: Any  # of several paths, with one more for the most that any of them has left
    pressure: Any  # how far ahead of the budget
    since_s: Any  # when it was that


class Path(NamedTuple):
    """A path of clicks at a page."""

    number: int  # -1: whatever any path has left at most
    day: int
    time_s: float
    pacing: int
    state: np.uint64  # of the throttle's draw


class Sale(NamedTuple):
    """A page's sale."""

    ranked: Any  # (C,) the best candidates, best first
    ecpm: Any  # (C,) theirs
    had: Any  # (C,) what their advertisers had left
    state: Any  # (3,) how many those are, how many slots were sold, whether those changed any bid
    shows: Any  # (S,) candidate
    payer: Any  # (S,) advertiser
    pays: Any  # (S,) per click
    due: Any  # (S,) when what is charged for happens
    below: Any  # (S,) others' eCPM


KNOWN, SOLD, MOVED = range(3)  # in `Sale.state`


def no_candidates(wide: int) -> Candidates:
    """Room for a page's."""
    ad, owner = np.zeros((2, wide), np.int64)
    pctr, pcvr, bid, full = np.zeros((4, wide))
    now, rest = np.zeros(-(-wide // LANES) * LANES), np.zeros(1)
    return Candidates(ad, owner, pctr, pcvr, bid, full, now, rest)


def no_sale(wide: int, slots: int) -> Sale:
    """Room for one."""
    ranked, state = np.zeros(wide, np.int64), np.zeros(3, np.int64)
    ecpm, had = np.zeros((2, wide))
    shows, payer = np.zeros((2, slots), np.int64)
    pays, due, below = np.zeros((3, slots))
    return Sale(ranked, ecpm, had, state, shows, payer, pays, due, below)


@inlined
def _most(left: float, pctr: float, pcvr: float, charge: int) -> float:
    """The most per click that a budget can pay, of a candidate that may show."""
    if not left > 0.0:
        return 0.0
    if charge == PER_IMPRESSION:
        return left / pctr
    return left * pcvr if charge == PER_CONVERSION else left


@inlined
def _charge(pays: float, pctr: float, pcvr: float, charge: int) -> float:
    """What a price per click is, per what is charged for."""
    if charge == PER_IMPRESSION:
        return pays * pctr
    return pays / pcvr if charge == PER_CONVERSION else pays


@inlined
def _pressure(purse: Purse, path: Path, v: int) -> float:
    """How far an advertiser is ahead of its day's budget, now."""
    passed_s: float = max(0.0, path.time_s - purse.since_s[path.number, path.day, v])
    before: float = purse.pressure[path.number, path.day, v]
    return max(0.0, before - PACE * passed_s / DAY_S)


@inlined
def _share(purse: Purse, path: Path, v: int) -> float:
    """What pacing leaves of an advertiser's bids on this page."""
    if path.pacing == FREE:
        return 1.0
    left: float = 1.0 / (1.0 + _pressure(purse, path, v))
    if path.pacing == SHADED:
        return left
    return 1.0 if as_uniform(fold(path.state, np.uint64(v))) < left else 0.0


@inlined
def _left(v: int, purse: Purse, path: Path, sale: Sale, sold: int) -> float:
    """Of a budget of the day, less what the page's slots that are sold may cost."""
    aside = 0.0
    for s in range(sold):
        if sale.payer[s] == v:
            aside += sale.due[s]
    left: float = purse.left[path.number, path.day, v] - aside
    return left


@inlined
def _bid(c: int, left: float, page: Candidates, purse: Purse, path: Path, terms: Terms) -> float:
    """A candidate's bid per click: its own, or the most that its budget can pay."""
    own: float = page.bid[c] * _share(purse, path, page.owner[c])
    most: float = _most(left, page.pctr[c], page.pcvr[c], terms.charge)
    return min(own, most)


@inlined
def _ecpm(c: int, page: Candidates, purse: Purse, path: Path, terms: Terms, sale: Sale, sold: int) -> float:
    """A candidate's eCPM for the next slot; 0 below the reserve."""
    left = _left(page.owner[c], purse, path, sale, sold)
    e: float = 1000.0 * page.pctr[c] * _bid(c, left, page, purse, path, terms)
    return e if e >= terms.reserve else 0.0


@inlined
def _threshold(now: Any, enough: int, best: Any) -> float:
    """An eCPM that `enough` candidates reach, and few more: of maxima of as many parts of the page.

    Without a branch: which candidates are good cannot be predicted, and wrong predictions cost most.
    """
    if not 0 < enough <= LANES or len(now) <= LANES:
        return 0.0
    best[:enough] = 0.0
    for lane in range(LANES):
        x = 0.0
        for c in range(lane, len(now), LANES):
            x = max(x, now[c])
        for k in range(enough):
            y = best[k]
            best[k], x = max(x, y), min(x, y)
    least: float = best[enough - 1]
    return least


@inlined
def _rank(
    enough: int, page: Candidates, purse: Purse, path: Path, terms: Terms, sale: Sale, sold: int
) -> int:
    """The best candidates for the next slot, ties to the lower ad; returns how many, at most `enough`."""
    now, ranked, ecpm = page.now, sale.ranked, sale.ecpm
    for c in range(len(page.ad)):
        now[c] = _ecpm(c, page, purse, path, terms, sale, sold) if page.full[c] > 0.0 else 0.0
    for s in range(sold):
        now[sale.shows[s]] = 0.0
    known, least = 0, _threshold(now, enough, ecpm)
    for c in range(len(page.ad)):
        if now[c] == 0.0 or now[c] < least:
            continue
        at = known
        while at > 0:
            other = ranked[at - 1]
            if ecpm[at - 1] > now[c] or (ecpm[at - 1] == now[c] and page.ad[other] < page.ad[c]):
                break
            if at < enough:
                ranked[at], ecpm[at] = other, ecpm[at - 1]
            at -= 1
        if at < enough:
            ranked[at], ecpm[at] = c, now[c]
            known = min(known + 1, enough)
    # An ad that was left out may come before those that bid no more than it might.
    while known > 0 and ecpm[known - 1] <= page.rest[0]:
        known -= 1
    return known


@inlined
def _others_below(at: int, known: int, wanted: int, page: Candidates, sale: Sale) -> int:
    """Put the eCPM of other advertisers than the best one's into `below`; returns how many of the wanted."""
    others = 0
    for k in range(at + 1, known):
        if others < wanted and page.owner[sale.ranked[k]] != page.owner[sale.ranked[at]]:
            sale.below[others] = sale.ecpm[k]
            others += 1
    return others


@inlined
def _displaced(below: Any, weights: Any, slot: int, slots: int) -> float:
    """What others would earn more if the winner of the slot were away: each moves up by a slot."""
    total = 0.0
    for k in range(slots - slot):
        after = weights[slot + k + 1] if slot + k + 1 < slots else 0.0
        total += (weights[slot + k] - after) / weights[slot] * below[k]
    return total


@inlined
def _sell_slot(
    s: int, c: int, lost: float, page: Candidates, purse: Purse, path: Path, terms: Terms, sale: Sale
) -> None:
    """The next slot is a candidate's, at a price by who stands below it."""
    v, pctr = page.owner[c], page.pctr[c]
    left = _left(v, purse, path, sale, s)
    own = _bid(c, left, page, purse, path, terms)
    pays = min(own, terms.price_of(own, sale.below[0], lost, terms.reserve, pctr))
    sale.shows[s], sale.payer[s], sale.pays[s] = c, v, pays
    sale.due[s] = min(_charge(pays, pctr, page.pcvr[c], terms.charge), left)


@inlined
def _moved(
    at: int, known: int, page: Candidates, purse: Purse, path: Path, terms: Terms, sale: Sale, sold: int
) -> bool:
    """Whether what the last slot may cost lowers a bid of its advertiser's other ads."""
    moved = False
    for k in range(at, known):
        c = sale.ranked[k]
        if page.owner[c] == sale.payer[sold - 1]:
            moved |= _ecpm(c, page, purse, path, terms, sale, sold) != sale.ecpm[k]
    return moved


@inlined
def _sell_among(
    enough: int, slots: int, page: Candidates, purse: Purse, path: Path, terms: Terms, sale: Sale
) -> bool:
    """Sell to the best few; returns whether these were enough."""
    known, at, anew = 0, 0, True
    sale.state[:] = 0
    for s in range(slots):
        if anew:
            known, at = _rank(enough, page, purse, path, terms, sale, s), 0
            sale.state[MOVED] = s > 0
        if s == 0:
            sale.state[KNOWN] = known
            for k in range(known):
                sale.had[k] = purse.left[path.number, path.day, page.owner[sale.ranked[k]]]
        everyone = (known < enough or enough == len(page.ad)) and page.rest[0] == 0.0
        others = _others_below(at, known, slots - s, page, sale)
        if others < slots - s and not everyone:
            return False
        if at == known:
            break
        sale.below[others : slots - s] = terms.reserve
        lost = _displaced(sale.below, terms.weights, s, slots)
        _sell_slot(s, sale.ranked[at], lost, page, purse, path, terms, sale)
        sale.state[SOLD], at = s + 1, at + 1
        # With more than the others there may be another ad of the same advertiser.
        anew = others < known - at and _moved(at, known, page, purse, path, terms, sale, s + 1)
    return True


@inlined
def sell(slots: int, page: Candidates, purse: Purse, path: Path, terms: Terms, sale: Sale) -> bool:
    """Sell a page's slots, the top one first, before anyone clicks; returns whether that could be done.

    The best of as many advertisers are sold in their order. Where more than these must be known, or a slot
    takes so much of a budget that its advertiser's next ad bids less, the page is ranked anew. It cannot be
    done where an ad that was left out of the page might have a part in it.
    """
    enough = min(slots + 1, len(page.ad))
    while not _sell_among(enough, slots, page, purse, path, terms, sale):
        if enough == len(page.ad):
            return False
        enough = min(2 * enough, len(page.ad))
    return True


@inlined
def alike(page: Candidates, purse: Purse, path: Path, terms: Terms, sale: Sale) -> bool:
    """Whether a sale with the most that any path has left is this path's too.

    That is so if everyone who was looked at has as much left, or enough to bid in full for any of its slots,
    with a millionth to spare, so that a rounding step in a charge makes no difference either.
    """
    if sale.state[MOVED]:
        return False
    for k in range(sale.state[KNOWN]):
        c = sale.ranked[k]
        v = page.owner[c]
        if _share(purse, path, v) < 1.0:
            return False
        if purse.left[path.number, path.day, v] != sale.had[k]:
            left = _left(v, purse, path, sale, sale.state[SOLD])
            if not _most(left, page.pctr[c], page.pcvr[c], terms.charge) > 1.000001 * page.bid[c]:
                return False
    return True


@inlined
def bill(v: int, due: float, purse: Purse, path: Path) -> None:
    """A path's advertiser pays."""
    p, day, left = path.number, path.day, purse.left
    budget, had_most = purse.budgets[p, day, v], left[p, day, v] == left[-1, day, v]
    after = purse.spend[p, day, v] + due
    purse.spend[p, day, v] = budget if after >= NEARLY * budget else after
    left[p, day, v] = budget - purse.spend[p, day, v]
    if had_most:
        left[-1, day, v] = left[p, day, v]
        for q in range(len(purse.spend)):
            left[-1, day, v] = max(left[-1, day, v], left[q, day, v])
    if path.pacing != FREE and due > 0.0:
        purse.pressure[p, day, v] = _pressure(purse, path, v) + PACE * due / budget
        purse.since_s[p, day, v] = path.time_s
