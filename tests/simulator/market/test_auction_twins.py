"""The compiled auctions are their plain twins, bit for bit, and every path is one of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_worlds import RULES, market, same

from simulator.draws import uniform
from simulator.market.auction import Paths, run_auctions, warm
from simulator.market.draws import as_uniform, fold, key
from simulator.market.kernel import _loop
from simulator.market.plain import run_auctions_plain, run_paths_plain


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10_000),
    slots=st.integers(1, 4),
    advertisers=st.integers(1, 9),
    budget=st.sampled_from([np.inf, 60.0, 20.0, 5.0, 0.5, 0.0]),
    rules=st.sampled_from(RULES),
)
def test_the_compiled_loop_equals_its_plain_twin_bit_for_bit(seed, slots, advertisers, budget, rules):
    order, pages, book = market(seed, rows=30, slots=slots, advertisers=advertisers)
    budgets = np.full((2, advertisers), budget)
    same(
        run_auctions(order, pages, book, budgets, rules, seed),
        run_auctions_plain(order, pages, book, budgets, rules, seed),
    )


@pytest.mark.parametrize("rules", RULES)
def test_many_ads_of_two_advertisers_on_a_page_are_sold_as_the_plain_twin_does(rules):
    order, pages, book = market(6, rows=10, wide=24, slots=4, ads=60, advertisers=2)
    budgets = np.full((2, 2), 30.0)
    fast, plain = (run(order, pages, book, budgets, rules, 6) for run in (run_auctions, run_auctions_plain))
    same(fast, plain)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("budget", [np.inf, 5.0, 0.0])
def test_all_paths_in_one_pass_and_in_parts_equal_one_path_after_the_other(rules, budget):
    order, pages, book = market(2, rows=120)
    budgets, seeds = np.full((2, 6), budget), (3, 1, 4)
    expected, totals = run_paths_plain(order, pages, book, budgets, rules, seeds)
    whole = Paths(book, budgets, rules, seeds)
    np.testing.assert_array_equal(whole.run(order, pages), expected)
    np.testing.assert_allclose(whole.totals, totals, rtol=1e-12)  # sums in another order
    first = run_auctions(order, pages, book, budgets, rules, seeds[0])
    same(whole.ledger, first.ledger)
    parts, found = Paths(book, budgets, rules, seeds), np.zeros_like(expected)
    for rows in (order[:50], order[50:]):
        found[rows] = parts.run(np.arange(len(rows)), pages.take(rows))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(parts.totals, whole.totals)
    same(parts.ledger, whole.ledger)


@pytest.mark.parametrize("rules", RULES)
def test_paths_of_unlike_budgets_are_those_of_each_budget_alone(rules):
    order, pages, book = market(3, rows=120)
    budgets = np.stack([np.full((2, 6), budget) for budget in (5.0, np.inf, 60.0)])
    together = Paths(book, budgets, rules, (3, 3, 4))
    expected = together.run(order, pages)
    runs = [Paths(book, one, rules, (seed,)) for one, seed in zip(budgets, (3, 3, 4), strict=True)]
    np.testing.assert_array_equal(np.sum([run.run(order, pages) for run in runs], axis=0), expected)
    np.testing.assert_array_equal(np.concatenate([run.totals for run in runs]), together.totals)
    same(together.ledger, runs[0].ledger)


def test_compiled_draws_are_those_of_the_world():
    ids = np.arange(50, dtype=np.uint64) * np.uint64(2**61 + 12345)
    expected = uniform(7, "click", ids, 3, 1)
    start = key(7, "click")
    found = []
    for i in ids:
        state = start
        for part in (i, np.uint64(3), np.uint64(1)):
            state = np.uint64(fold(state, part))  # numba hands Python a plain int
        found.append(as_uniform(state))
    np.testing.assert_array_equal(found, expected)


def test_what_is_compiled_beforehand_sells_on_any_number_of_paths() -> None:
    warm()
    before = len(_loop.signatures)
    for seed, rows in ((0, 0), (1, 1), (2, 30), (3, 30)):
        order, pages, book = market(seed, rows=rows)
        for seeds in ((1,), (1, 2, 3)):
            Paths(book, np.full((2, 6), 5.0), RULES[0], seeds).run(order, pages)
    assert len(_loop.signatures) == before == 1
