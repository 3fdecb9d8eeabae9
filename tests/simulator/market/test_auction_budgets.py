"""Budgets in the auctions: never overspent, spent by the order of requests, paced, and shared by the arms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from market_worlds import bidders, market, page_of, same

from simulator.market.auction import run_auctions
from simulator.market.pages import Rules


def test_a_budget_for_one_click_buys_one_click():
    pages, book = page_of(0.9, 0.8, 0.3, owner=(0, 0, 1))
    run = run_auctions(np.array([0]), pages, book, np.array([[0.9, 9.0]]), Rules(pricing="first"), 1)
    assert run.ad.tolist() == [[0, 2]]
    assert run.charged.tolist() == [[0.9, 0.3]]


def test_what_the_first_slot_may_cost_is_set_aside_before_anyone_clicks():
    pages, book = page_of(0.9, 0.8, 0.3, owner=(0, 0, 1))
    pages = replace(pages, p_click=np.zeros((1, 3, 2)))
    run = run_auctions(np.array([0]), pages, book, np.array([[1.1, 9.0]]), Rules(pricing="first"), 1)
    assert run.ad.tolist() == [[0, 2]]  # 0.2 is left for the second ad, below 0.3
    assert run.ledger.spend.tolist() == [[0.0, 0.0]]


def test_a_bid_that_its_budget_cannot_pay_is_lowered_to_it_or_leaves():
    pages, book = page_of(0.9, 0.5, slots=1)
    for left, reserve, price in ((0.4, 0.0, 0.4), (0.4, 450.0, 0.45), (0.0, 0.0, 0.0)):
        budgets, rules = np.array([[left, 9.0]]), Rules(reserve_ecpm=reserve)
        run = run_auctions(np.array([0]), pages, book, budgets, rules, 1)
        assert run.ad.tolist() == [[1]]
        assert run.price[0, 0] == pytest.approx(price)
    run = run_auctions(np.array([0]), pages, book, np.array([[0.7, 9.0]]), Rules(pricing="first"), 1)
    assert (run.ad.tolist(), run.charged.tolist()) == ([[0]], [[0.7]])


@pytest.mark.parametrize("pacing", ["throttle", "shade"])
def test_pacing_spreads_what_is_spent_over_the_day_and_still_spends_it(pacing):
    order, pages, book = market(9, rows=4_000, slots=1, days=1)

    def spent_by(hour, rules):
        """Shares of the budgets that are spent by an hour."""
        run = run_auctions(order, pages, book, np.full((1, 6), 100.0), rules, 1)
        return run.charged[pages.time_s < 3600 * hour].sum() / 600.0

    assert spent_by(6, Rules()) > 0.75
    assert 0.2 < spent_by(6, Rules(pacing=pacing)) < 0.6
    assert 0.4 < spent_by(12, Rules(pacing=pacing)) < 0.8
    assert 0.9 < spent_by(24, Rules(pacing=pacing)) <= 1.0


@pytest.mark.parametrize("pacing", ["throttle", "shade"])
def test_without_budgets_there_is_nothing_to_pace(pacing):
    order, pages, book = market(9, rows=300)
    budgets = np.full((2, 6), np.inf)
    runs = [run_auctions(order, pages, book, budgets, Rules(pacing=p), 1) for p in ("none", pacing)]
    same(*runs)


def test_an_order_changes_who_gets_the_last_of_a_budget():
    pages, book = bidders(np.array([[0.6], [0.6]]))
    budgets, rules = np.full((1, 1), 0.5), Rules(pricing="first")
    first = run_auctions(np.array([0, 1]), pages, book, budgets, rules, 1)
    second = run_auctions(np.array([1, 0]), pages, book, budgets, rules, 1)
    assert first.charged[:, 0].tolist() == [0.5, 0.0]
    assert second.charged[:, 0].tolist() == [0.0, 0.5]
    assert first.ad[:, 0].tolist() == [0, -1]


def test_revenue_is_equal_in_worlds_where_every_budget_is_exhausted():
    order, pages, book = market(4, rows=2_000)
    budgets = np.full((2, 6), 3.0)
    better = replace(pages, pctr=np.clip(pages.p_click[:, :, 0], 0.01, 1))
    rules = Rules(pricing="first")
    spends = [run_auctions(order, p, book, budgets, rules, 1).ledger.spend for p in (pages, better)]
    np.testing.assert_array_equal(spends[0], budgets)
    np.testing.assert_array_equal(spends[1], spends[0])


def test_shared_budgets_that_run_out_give_the_naive_test_a_lift_that_does_not_exist():
    order, pages, book = market(7, rows=3_000)
    # Under a second price the last of a budget goes for ever smaller prices.
    budgets, rules = np.full((2, 6), 8.0), Rules(pricing="first")
    better = np.clip(pages.p_click[:, :, 0], 0.01, 1)
    pages = replace(pages, pctr=0.61 - better)  # control prefers what is not clicked
    treated = pages.request_id % np.uint64(2) == 1
    mixed = np.where(treated[:, None], better, pages.pctr)
    worlds = [
        run_auctions(order, replace(pages, pctr=p), book, budgets, rules, 1) for p in (pages.pctr, better)
    ]
    ab = run_auctions(order, replace(pages, pctr=mixed), book, budgets, rules, 1)
    for run in (*worlds, ab):
        np.testing.assert_array_equal(run.ledger.spend, budgets)
    paid = ab.charged.sum(1)
    naive = paid[treated].mean() / paid[~treated].mean() - 1
    assert worlds[1].ledger.spend.sum() == worlds[0].ledger.spend.sum()
    assert abs(naive) > 0.1
