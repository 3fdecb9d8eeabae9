"""The auction in plain Python: slow, readable, and what the compiled loop must reproduce bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.config.settings import Pricing
from simulator.draws import uniform
from simulator.market.auction import assemble
from simulator.market.draws import CLICK, CONVERSION
from simulator.market.pages import F8, I8, Auctions, Book, Pages, Rules, check_inputs

# What the winner of a slot pays per click [currency], before it is cut at its own bid.
#     own: its bid per click, pCVR·tCPA [currency]; pctr: its pCTR.
#     least_ecpm: the eCPM that keeps the slot, the next candidate's or else the reserve.
#     reserve_ecpm: below which nothing shows.
Price = Callable[[float, float, float, float], float]
PRICES: dict[Pricing, Price] = {}


def pricing(name: Pricing) -> Callable[[Price], Price]:
    """Names a price as `market.pricing` does; the kernel's must give the same bits."""

    def named(price: Price) -> Price:
        PRICES[name] = price
        return price

    return named


@pricing("gsp")
def second_price(own: float, least_ecpm: float, reserve_ecpm: float, pctr: float) -> float:
    """Generalised second price: the least that keeps the slot."""
    return least_ecpm / (1000.0 * pctr)


@pricing("first")
def first_price(own: float, least_ecpm: float, reserve_ecpm: float, pctr: float) -> float:
    """The own bid."""
    return own


def run_auctions_plain(order: I8, pages: Pages, book: Book, budgets: F8, rules: Rules, seed: int) -> Auctions:
    """The same as `simulator.market.auction.run_auctions`, thousands of times slower."""
    check_inputs(order, pages, book, budgets)
    shape = (pages.candidates.shape[0], pages.p_click.shape[2])
    ad, where = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    price, charged, expected_paid = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
    click, conversion = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    spend = np.zeros(budgets.shape)
    for r in order:
        day, request = pages.budget_row[r], pages.request_id[r]
        ranked = _ranked(pages, book, budgets[day] - spend[day], rules, int(r))
        for s in range(min(int(pages.slots[r]), len(ranked))):
            _, a, c = ranked[s]
            v = book.advertiser[a]
            left = budgets[day, v] - spend[day, v]
            own = book.pcvr[a] * book.tcpa[a]
            least = ranked[s + 1][0] if s + 1 < len(ranked) else rules.reserve_ecpm
            pays = min(own, PRICES[rules.pricing](own, least, rules.reserve_ecpm, pages.pctr[r, c]))
            clicked = uniform(seed, CLICK, request, a, s) < pages.p_click[r, c, s]
            due = min(pays if rules.charge == "click" else pays * pages.pctr[r, c], left)
            ad[r, s], where[r, s], price[r, s], click[r, s] = a, c, pays, clicked
            expected_paid[r, s] = pages.p_click[r, c, s] * due if rules.charge == "click" else due
            if clicked or rules.charge == "impression":
                charged[r, s] = due
                spend[day, v] = budgets[day, v] if due == left else min(spend[day, v] + due, budgets[day, v])
            if clicked:
                conversion[r, s] = uniform(seed, CONVERSION, request, a) < pages.p_convert[r, c]
    return assemble(
        pages, book, rules, seed, ad, where, price, charged, click, conversion, expected_paid, spend
    )


def _ranked(pages: Pages, book: Book, left: F8, rules: Rules, r: int) -> list[tuple[float, int, int]]:
    """(eCPM, ad, candidate place) of those that may show, best first."""
    seen: set[int] = set()
    ranked = []
    for c, a in enumerate(pages.candidates[r].tolist()):
        if a < 0 or a in seen:
            continue
        seen.add(a)
        ecpm = 1000.0 * pages.pctr[r, c] * book.pcvr[a] * book.tcpa[a]
        if left[book.advertiser[a]] > 0 and ecpm > 0 and ecpm >= rules.reserve_ecpm:
            ranked.append((ecpm, a, c))
    return sorted(ranked, key=lambda e: (-e[0], e[1]))
