"""The auctions against theory: truthfulness, known revenues, VCG's payments."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_worlds import bidders, free, market, page_of

from simulator.config.market import Charge, Pricing
from simulator.market.auction import run_auctions
from simulator.market.pages import Rules


@settings(max_examples=40)
@given(
    values=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6),
    misreport=st.floats(0.0, 3.0),
)
def test_no_misreport_beats_the_truth_in_a_one_slot_second_price_auction(values, misreport):
    def utility(bid: float) -> float:
        pages, book = bidders(np.array([[bid, *values[1:]]]))
        run = run_auctions(np.array([0]), pages, book, free(book), Rules(), 1)
        return values[0] - run.charged[0, 0] if run.ad[0, 0] == 0 else 0.0

    assert utility(values[0] * misreport) <= utility(values[0]) + 1e-12


@pytest.mark.parametrize(
    ("n", "reserve", "revenue"),
    [
        (2, 0, 1 / 3),
        (3, 0, 1 / 2),
        (5, 0, 2 / 3),
        (1, 0.5, 1 / 4),
        (2, 0.5, 5 / 12),
        (3, 0.5, 0.53125),
        (5, 0.5, 0.671875),
    ],
)
def test_second_price_revenue_of_uniform_bidders_is_the_known_one(n, reserve, revenue):
    rows = 60_000
    pages, book = bidders(np.random.default_rng(n).uniform(size=(rows, n)))
    rules = Rules(reserve_ecpm=1000 * reserve)
    paid = run_auctions(np.arange(rows), pages, book, free(book), rules, 1).charged[:, 0]
    assert paid.mean() == pytest.approx(revenue, abs=4 * paid.std() / rows**0.5)


def test_first_price_with_shaded_bids_earns_what_second_price_does():
    rows, n = 60_000, 4
    values = np.random.default_rng(1).uniform(size=(rows, n))
    pages, book = bidders(values * (n - 1) / n)
    paid = run_auctions(np.arange(rows), pages, book, free(book), Rules(pricing="first"), 1).charged
    assert paid.mean() == pytest.approx((n - 1) / (n + 1), abs=4 * paid.std() / rows**0.5)


@settings(max_examples=60)
@given(
    values=st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True),
    owners=st.lists(st.integers(0, 3), min_size=5, max_size=5),
    cuts=st.lists(st.floats(0.2, 1.0), min_size=2, max_size=2),
    reserve=st.sampled_from([0.0, 0.3]),
)
def test_vcg_charges_what_the_others_lose_over_all_ways_to_fill_the_page(values, owners, cuts, reserve):
    bids, owner = [v / 100 for v in values], tuple(owners[: len(values)])
    weights = tuple(np.cumprod([1.0, *cuts]))
    pages, book = page_of(*bids, owner=owner, slots=3)
    rules = Rules(pricing="vcg", reserve_ecpm=1000 * reserve, slot_weights=weights)
    run = run_auctions(np.array([0]), pages, book, np.full((1, 4), np.inf), rules, 1)

    def welfare(ads):
        """The most that a page is worth; a slot without an ad is worth the reserve."""
        worth = [bids[a] for a in ads] + [reserve] * 3
        pages = permutations(worth, 3)
        return max(sum(w * v for w, v in zip(weights, page, strict=True)) for page in pages)

    everyone = [a for a in range(len(bids)) if bids[a] >= reserve]
    for v in set(owner):
        slots = [s for s in range(3) if run.ad[0, s] >= 0 and owner[run.ad[0, s]] == v]
        own = sum(weights[s] * bids[run.ad[0, s]] for s in slots)
        away = welfare([a for a in everyone if owner[a] != v])
        paid = sum(weights[s] * run.price[0, s] for s in slots)
        assert paid == pytest.approx(away - (welfare(everyone) - own), abs=1e-9)


@pytest.mark.parametrize("name", get_args(Pricing))
def test_true_predictions_earn_the_same_whatever_is_charged_for(name):
    order, pages, book = market(8, rows=300, slots=1)
    pages = replace(pages, pctr=pages.p_click[:, :, 0], p_convert=book.pcvr[np.maximum(pages.candidates, 0)])
    budgets = np.full((2, 6), np.inf)
    runs = [
        run_auctions(order, pages, book, budgets, Rules(pricing=name, charge=charge), 1)
        for charge in get_args(Charge)
    ]
    for run in runs[1:]:
        np.testing.assert_allclose(run.expected_revenue, runs[0].expected_revenue, rtol=1e-12)


def test_expected_revenue_equals_spend_in_the_mean():
    order, pages, book = market(5, rows=4_000)
    gaps = []
    for seed in range(30):
        run = run_auctions(order, pages, book, np.full((2, 6), 40.0), Rules(), seed)
        gaps.append(run.expected_revenue.sum() - run.ledger.spend.sum())
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / len(gaps) ** 0.5
