"""The auction in plain Python: slow, readable, and what the compiled loop must reproduce bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from simulator.config.market import Pricing
from simulator.draws import uniform
from simulator.market.auction import assemble, auctions_of
from simulator.market.checks import check_inputs
from simulator.market.draws import CLICK, CONVERSION, THROTTLE
from simulator.market.pages import DAY_S, F8, I8, NEARLY, PACE, Auctions, Book, Ledger, Pages, Rules, Shown
from simulator.metrics import OUTCOMES

# What the winner of a slot pays per click [currency], before it is cut at its own bid.
#     own: its bid per click [currency]; pctr: its pCTR.
#     least_ecpm: the eCPM that keeps the slot, the next other advertiser's or else the reserve.
#     displaced_ecpm: what the others lose by it, per 1,000 impressions and the slot's share of clicks.
#     reserve_ecpm: below which nothing shows.
Price = Callable[[float, float, float, float, float], float]
PRICES: dict[Pricing, Price] = {}


def pricing(name: Pricing) -> Callable[[Price], Price]:
    """Names a price as `market.pricing` does; the kernel's must give the same bits."""

    def named(price: Price) -> Price:
        PRICES[name] = price
        return price

    return named


@pricing("gsp")
def second_price(
    own: float, least_ecpm: float, displaced_ecpm: float, reserve_ecpm: float, pctr: float
) -> float:
    """Generalised second price: the least that keeps the slot."""
    return least_ecpm / (1000.0 * pctr)


@pricing("first")
def first_price(
    own: float, least_ecpm: float, displaced_ecpm: float, reserve_ecpm: float, pctr: float
) -> float:
    """The own bid."""
    return own


@pricing("vcg")
def displaced(
    own: float, least_ecpm: float, displaced_ecpm: float, reserve_ecpm: float, pctr: float
) -> float:
    """Vickrey, Clarke and Groves: what the others lose because the winner is there."""
    return displaced_ecpm / (1000.0 * pctr)


class _Entry(NamedTuple):
    """A candidate that may show: the best is the first in the order of (-ecpm, ad)."""

    ecpm: float
    ad: int
    place: int
    bid: float  # per click [currency], as far as its budget reaches
    left: float  # of its budget, less what its ads further up the page may cost


class _Sale(NamedTuple):
    """A slot that is won."""

    entry: _Entry
    pays: float  # per click [currency]
    due: float  # when what is charged for happens [currency]


class _Pacing:
    """How far advertisers are ahead of their budgets, by budget row: x of `Rules.pacing`."""

    def __init__(self, budgets: F8, rules: Rules, seed: int) -> None:
        self._budgets, self._rules, self._seed = budgets, rules, seed
        self._pressure, self._since_s = np.zeros(budgets.shape), np.zeros(budgets.shape)

    def now(self, day: int, v: int, time_s: float) -> float:
        """Its pressure at a moment; requests may be answered out of the order they came in."""
        passed_s = max(0.0, time_s - float(self._since_s[day, v]))
        return max(0.0, float(self._pressure[day, v]) - PACE * passed_s / DAY_S)

    def shares(self, day: int, time_s: float, request: int) -> list[float]:
        """(V,) what is left of every advertiser's bids."""
        advertisers = range(self._budgets.shape[1])
        if self._rules.pacing == "none":
            return [1.0 for _ in advertisers]
        left = [1.0 / (1.0 + self.now(day, v, time_s)) for v in advertisers]
        if self._rules.pacing == "shade":
            return left
        return [float(uniform(self._seed, THROTTLE, request, v) < left[v]) for v in advertisers]

    def paid(self, day: int, v: int, time_s: float, due: float) -> None:
        """It paid so much."""
        self._pressure[day, v] = self.now(day, v, time_s) + PACE * due / self._budgets[day, v]
        self._since_s[day, v] = time_s


def run_auctions_plain(order: I8, pages: Pages, book: Book, budgets: F8, rules: Rules, seed: int) -> Auctions:
    """The same as `simulator.market.auction.run_auctions`, thousands of times slower."""
    check_inputs(order, pages, book, budgets)
    rows, slots = pages.candidates.shape[0], pages.p_click.shape[2]
    shown, expected = Shown.nothing(rows, slots), np.zeros((rows, len(OUTCOMES)))
    shape = budgets.shape
    ledger = Ledger(np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape))
    pacing = _Pacing(budgets, rules, seed)
    for r in order:
        day, request, time_s = pages.budget_row[r], pages.request_id[r], pages.time_s[r]
        share = pacing.shares(day, time_s, request)
        sales = _sell(pages, book, budgets[day] - ledger.spend[day], share, rules, int(r))
        for s, sale in enumerate(sales):
            _answer(pages, book, budgets, rules, seed, int(r), s, sale, shown, expected, ledger)
            if shown.charged[r, s] > 0:
                pacing.paid(day, book.advertiser[sale.entry.ad], time_s, sale.due)
    made = assemble(shown, pages.request_id, pages.time_s, book, rules, seed)
    return auctions_of(made, expected, ledger)


def run_paths_plain(
    order: I8, pages: Pages, book: Book, budgets: F8, rules: Rules, seeds: Sequence[int]
) -> tuple[F8, F8]:
    """The same as `simulator.market.auction.Paths`: one path after another.

    Returns:
        (R, 5) expected outcomes summed over the paths, and (P, 5) each path's totals, see `Paths`.
    """
    runs = [run_auctions_plain(order, pages, book, budgets, rules, seed) for seed in seeds]
    made = [np.stack([getattr(run, f"expected_{name}") for name in OUTCOMES], axis=1) for run in runs]
    return np.sum(made, axis=0), np.array([one.sum(0) for one in made])


def _sell(pages: Pages, book: Book, left: F8, share: list[float], rules: Rules, r: int) -> list[_Sale]:
    """The slots of a page, the top one first; the page is settled before anyone sees it.

    Whoever wins a slot has less budget for the next: what the slot may cost is set aside.
    """
    sales: list[_Sale] = []
    aside = np.zeros(len(left))
    slots = int(pages.slots[r])
    for s in range(slots):
        ranked = _ranked(pages, book, left - aside, share, rules, r, {sale.entry.ad for sale in sales})
        if not ranked:
            break
        best = ranked[0]
        v, pctr = book.advertiser[best.ad], pages.pctr[r, best.place]
        below = [entry.ecpm for entry in ranked[1:] if book.advertiser[entry.ad] != v]
        below += [rules.reserve_ecpm] * slots
        price = PRICES[rules.pricing](
            best.bid, below[0], _displaced(below, rules, s, slots), rules.reserve_ecpm, pctr
        )
        pays = min(best.bid, price)
        due = min(_charge(pays, pctr, _pcvr(pages, book, r, best.place), rules), best.left)
        aside[v] += due
        sales.append(_Sale(best, pays, due))
    return sales


def _ranked(
    pages: Pages, book: Book, left: F8, share: list[float], rules: Rules, r: int, sold: set[int]
) -> list[_Entry]:
    """Who may show in the next slot, best first."""
    seen = set(sold)
    ranked = []
    for c, a in enumerate(pages.candidates[r].tolist()):
        if a < 0 or a in seen:
            continue
        seen.add(a)
        pctr, mine, pcvr = pages.pctr[r, c], left[book.advertiser[a]], _pcvr(pages, book, r, c)
        own = pcvr * book.tcpa[a] * share[book.advertiser[a]]
        bid = min(own, _most(mine, pctr, pcvr, rules))
        ecpm = 1000.0 * pctr * bid
        if ecpm > 0 and ecpm >= rules.reserve_ecpm:
            ranked.append(_Entry(ecpm, a, c, bid, mine))
    return sorted(ranked, key=lambda entry: (-entry.ecpm, entry.ad))


def _pcvr(pages: Pages, book: Book, r: int, c: int) -> float:
    """The page's own, or the ad's."""
    return float(book.pcvr[pages.candidates[r, c]] if pages.pcvr is None else pages.pcvr[r, c])


def _most(left: float, pctr: float, pcvr: float, rules: Rules) -> float:
    """The most per click that a budget can pay [currency]."""
    if not left > 0 or pctr == 0 or pcvr == 0:
        return 0.0
    if rules.charge == "impression":
        return left / pctr
    return left * pcvr if rules.charge == "conversion" else left


def _charge(pays: float, pctr: float, pcvr: float, rules: Rules) -> float:
    """What a price per click is, per what is charged for [currency]."""
    if rules.charge == "impression":
        return pays * pctr
    return pays / pcvr if rules.charge == "conversion" else pays


def _displaced(below: list[float], rules: Rules, s: int, slots: int) -> float:
    """What others would earn more if the winner of slot s were away: each moves up by a slot."""
    weights = [rules.slot_weight(t) for t in range(slots)] + [0.0]
    total = 0.0
    for k in range(slots - s):
        total += (weights[s + k] - weights[s + k + 1]) / weights[s] * below[k]
    return total


def _answer(
    pages: Pages, book: Book, budgets: F8, rules: Rules, seed: int, r: int, s: int, sale: _Sale,
    shown: Shown, expected: F8, ledger: Ledger,
) -> None:  # fmt: skip
    """A slot is seen, perhaps clicked and converted, and paid for."""
    day, request, a, c = pages.budget_row[r], pages.request_id[r], sale.entry.ad, sale.entry.place
    v, spend = book.advertiser[a], ledger.spend
    p_click, p_convert = pages.p_click[r, c, s], pages.p_convert[r, c]
    clicked = uniform(seed, CLICK, request, a, s) < p_click
    converted = clicked and uniform(seed, CONVERSION, request, a) < p_convert
    chance, billed = {
        "click": (p_click, clicked),
        "impression": (1.0, True),
        "conversion": (p_click * p_convert, converted),
    }[rules.charge]
    converts = p_click * p_convert
    expected[r] += (1.0, p_click, converts, chance * sale.due, converts * book.tcpa[a])
    if billed:
        shown.charged[r, s] = sale.due
        after = spend[day, v] + sale.due
        spend[day, v] = budgets[day, v] if after >= NEARLY * budgets[day, v] else after
    shown.ad[r, s], shown.pctr[r, s], shown.price[r, s] = a, pages.pctr[r, c], sale.pays
    shown.pcvr[r, s] = _pcvr(pages, book, r, c)
    shown.p_click[r, s], shown.p_convert[r, s] = p_click, p_convert
    shown.click[r, s], shown.conversion[r, s] = clicked, converted
    ledger.clicks[day, v] += clicked
    ledger.conversions[day, v] += converted
    ledger.value[day, v] += book.tcpa[a] if converted else 0.0
