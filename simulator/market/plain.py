"""The auction in plain Python: slow, readable, and what the compiled loop must reproduce bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from simulator.config.market import Pricing
from simulator.draws import uniform
from simulator.market.auction import assemble, auctions_of
from simulator.market.checks import check_inputs
from simulator.market.draws import CLICK, CONVERSION
from simulator.market.pages import F8, I8, Auctions, Book, Ledger, Pages, Rules, Shown
from simulator.metrics import OUTCOMES

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
    rows, slots = pages.candidates.shape[0], pages.p_click.shape[2]
    shown, expected = Shown.nothing(rows, slots), np.zeros((rows, len(OUTCOMES)))
    shape = budgets.shape
    ledger = Ledger(np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape))
    spend = ledger.spend
    for r in order:
        day, request = pages.budget_row[r], pages.request_id[r]
        ranked = _ranked(pages, book, budgets[day] - spend[day], rules, int(r))
        for s in range(min(int(pages.slots[r]), len(ranked))):
            _, a, c = ranked[s]
            v, pctr = book.advertiser[a], pages.pctr[r, c]
            p_click, p_convert = pages.p_click[r, c, s], pages.p_convert[r, c]
            left = budgets[day, v] - spend[day, v]
            own = book.pcvr[a] * book.tcpa[a]
            least = ranked[s + 1][0] if s + 1 < len(ranked) else rules.reserve_ecpm
            pays = min(own, PRICES[rules.pricing](own, least, rules.reserve_ecpm, pctr))
            clicked = uniform(seed, CLICK, request, a, s) < p_click
            converted = clicked and uniform(seed, CONVERSION, request, a) < p_convert
            due = min(pays if rules.charge == "click" else pays * pctr, left)
            paid = p_click * due if rules.charge == "click" else due
            expected[r] += (1.0, p_click, p_click * p_convert, paid, p_click * p_convert * book.tcpa[a])
            if clicked or rules.charge == "impression":
                shown.charged[r, s] = due
                spend[day, v] = budgets[day, v] if due == left else min(spend[day, v] + due, budgets[day, v])
            shown.ad[r, s], shown.pctr[r, s], shown.price[r, s] = a, pctr, pays
            shown.p_click[r, s], shown.p_convert[r, s] = p_click, p_convert
            shown.click[r, s], shown.conversion[r, s] = clicked, converted
            ledger.clicks[day, v] += clicked
            ledger.conversions[day, v] += converted
            ledger.value[day, v] += book.tcpa[a] if converted else 0.0
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
