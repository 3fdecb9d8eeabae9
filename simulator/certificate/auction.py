"""`laser-ab validate auction`: the market against auction theory.

n bidders' values are uniform on [0, 1]. Here a value is a click probability that everyone knows, at a tCPA
and a conversion probability of 1, so that eCPM / 1000 is the value, and a winner's expected payment is what
theory speaks of.

Source: Krishna, "Auction Theory", 2nd edition, 2010, chapters 2, 3 and 5 (revenue equivalence,
reserve prices, VCG).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import numpy as np

from simulator.certificate.rows import Row, mean
from simulator.config.market import Charge
from simulator.market.auction import run_auctions
from simulator.market.pages import Auctions, Book, Pages, Rules

_RESERVE = {1: 1 / 4, 2: 5 / 12, 3: 0.53125, 5: 0.671875}


def auction_rows(auctions: int = 100_000, seed: int = 7) -> Iterator[Row]:
    """Revenue of second-price and first-price auctions, some with a reserve, then the ledger's promises.

    Args:
        auctions: of each kind.
        seed: of values and clicks.
    """
    for n in (2, 3, 5, 10):
        theory = (n - 1) / (n + 1)
        found = _run(auctions, n, Rules(), seed)
        yield mean(f"second price, {n} bidders: revenue", found.expected_revenue, theory)
        shaded = _run(auctions, n, Rules(pricing="first"), seed, shade=(n - 1) / n)
        yield mean(f"first price, {n} bidders who shade: revenue", shaded.expected_revenue, theory)
    for n, theory in _RESERVE.items():
        found = _run(auctions, n, Rules(reserve_ecpm=500.0), seed)
        yield mean(f"second price, {n} bidders, reserve 1/2: revenue", found.expected_revenue, theory)
    for n, weights in ((3, (1.0, 0.5)), (5, (1.0, 0.6, 0.3))):
        found = _run(auctions, n, Rules(pricing="vcg", slot_weights=weights), seed)
        theory = _vcg_revenue(n, weights)
        yield mean(f"VCG, {n} bidders, {len(weights)} slots: revenue", found.expected_revenue, theory)
    for charge in get_args(Charge):
        found = _run(auctions, 3, Rules(charge=charge), seed)
        yield mean(f"second price, 3 bidders, charge per {charge}: revenue", found.expected_revenue, 1 / 2)
    yield from _promises(auctions, seed)


def _vcg_revenue(n: int, weights: tuple[float, ...]) -> float:
    """Each of the t winners down to slot t keeps the bidder below from what slot t has over the next.

    That bidder's value, the (t + 1)-th highest of n uniform ones, is (n - t) / (n + 1) in the mean.
    """
    steps = np.array(weights) - np.array([*weights[1:], 0.0])
    return float(sum(t * step * (n - t) / (n + 1) for t, step in enumerate(steps, start=1)))


def _promises(auctions: int, seed: int) -> Iterator[Row]:
    """What must hold exactly, on a market whose budgets run out."""
    budget = auctions / 50
    found = _run(auctions, 5, Rules(), seed, budget=budget)
    spend, paid = found.ledger.spend, float(found.charged.sum())
    yield Row("tight budgets: most spent of a budget", float(spend.max() / budget), 0.0, 1.0 + 1e-9, 1.0)
    yield Row("tight budgets: payments over revenue", paid / float(spend.sum()), 1 - 1e-9, 1 + 1e-9, 1.0)
    priced = found.click & (found.price > 0)
    least = float((found.charged[priced] / found.price[priced]).min())
    yield Row("tight budgets: least paid of a click's price", least, 1 - 1e-9, 1 + 1e-9, 1.0)


def _run(
    auctions: int, bidders: int, rules: Rules, seed: int, shade: float = 1.0, budget: float = np.inf
) -> Auctions:
    value = np.random.default_rng((seed, bidders)).random((auctions, bidders)) * shade
    ids, slots = np.arange(auctions), max(1, len(rules.slot_weights))
    weights = np.array([rules.slot_weight(s) for s in range(slots)])
    pages = Pages(
        request_id=ids.astype(np.uint64),
        time_s=np.zeros(auctions),
        candidates=np.tile(np.arange(bidders), (auctions, 1)),
        pctr=np.maximum(value, 1e-12),
        slots=np.full(auctions, slots),
        budget_row=np.zeros(auctions, np.int64),
        p_click=np.maximum(value, 1e-12)[:, :, None] * weights,
        p_convert=np.ones((auctions, bidders)),
    )
    book = Book(np.ones(bidders), np.ones(bidders), np.arange(bidders))
    return run_auctions(ids, pages, book, np.full((1, bidders), budget), rules, seed)
