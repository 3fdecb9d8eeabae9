from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from market_worlds import market

from simulator.config.market import Charge
from simulator.market.auction import run_auctions
from simulator.market.budgets import Demand, daily_budgets, demand, unlimited
from simulator.market.ledger import impression_columns, ledger_columns
from simulator.market.pages import MarketError, Rules


def run(budgets=None, rules=None, seed=1):
    order, pages, book = market(2, rows=500)
    budgets = unlimited(2, 6) if budgets is None else budgets
    return run_auctions(order, pages, book, budgets, rules or Rules(), seed), pages, book


def spent(*spend):
    """Advertisers who spent so much, each click at 1."""
    return Demand(np.array(spend, float), np.array(spend, float))


def test_budgets_follow_pre_period_spend_and_the_days_requests():
    auctions, _, book = run()
    before = demand([auctions], book, 6)
    assert before.spend.sum() == pytest.approx(auctions.expected_revenue.sum())
    assert before.clicks.sum() == pytest.approx(auctions.expected_clicks.sum())
    budgets = daily_budgets(before, 500, np.array([100, 300]), tau=0.3, seed=7, clicks=0.0)
    np.testing.assert_allclose(budgets[1], 3 * budgets[0])
    np.testing.assert_array_equal(
        budgets, daily_budgets(before, 500, np.array([100, 300]), tau=0.3, seed=7, clicks=0.0)
    )
    factor = np.log(budgets[0] / (before.spend / 5))
    assert factor.std() > 0.1


def test_budget_factors_are_lognormal_around_tau():
    budgets = daily_budgets(spent(*np.ones(20_000)), 10, np.array([10]), tau=-0.3, seed=3, clicks=0.0)
    logs = np.log(budgets[0])
    assert logs.mean() == pytest.approx(-0.3, abs=0.015)
    assert logs.std() == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("charge", get_args(Charge))
def test_every_budget_is_worth_so_many_clicks_at_what_they_cost_the_advertiser(charge):
    auctions, _, book = run(rules=Rules(charge=charge))
    before = demand([auctions], book, 6, charge)
    assert before.spend.sum() == pytest.approx(auctions.expected_revenue.sum())
    budgets = daily_budgets(before, 500, np.array([1, 400]), tau=0.0, seed=7, clicks=10.0)
    worth = budgets / (before.spend / before.clicks)
    np.testing.assert_allclose(worth[0], 10.0)
    assert (worth[1] >= 10.0 - 1e-9).all()
    assert worth[1].max() > 10.5


def test_an_advertiser_that_never_won_gets_clicks_at_the_mean_cost():
    budgets = daily_budgets(
        Demand(np.array([10.0, 0.0]), np.array([4.0, 0.0])), 1, np.array([1]), tau=0.0, seed=1, clicks=3.0
    )
    assert budgets[0, 1] == pytest.approx(7.5)


def test_a_pre_period_without_spend_is_refused():
    with pytest.raises(MarketError, match="pre-period"):
        daily_budgets(spent(0, 0, 0), 0, np.array([1]), tau=0.0, seed=1)


def test_without_spread_every_budget_is_the_same_share_of_spend():
    before = spent(3, 9)
    budgets = daily_budgets(before, 10, np.array([10]), tau=0.0, sigma=0.0, seed=1, clicks=0.0)
    np.testing.assert_allclose(budgets[0], before.spend)
    with pytest.raises(MarketError, match="budget_sigma"):
        daily_budgets(before, 10, np.array([10]), tau=0.0, sigma=-1.0, seed=1)


def test_tight_budgets_run_out_and_unlimited_ones_never():
    tight = np.full((2, 6), 2.0)
    auctions, _, _ = run(tight, Rules(pricing="first"))
    assert (auctions.ledger.spend >= tight).mean() > 0.5
    free, _, _ = run()
    assert (free.ledger.spend < unlimited(2, 6)).all()


def test_ledger_rows_sum_to_the_impressions():
    budgets = np.full((2, 6), 4.0)
    budgets[0, 0] = np.inf
    auctions, pages, book = run(budgets)
    ledger = ledger_columns(auctions.ledger, budgets, np.array([20, 21]))
    shown = impression_columns(auctions, pages.request_id, book.advertiser)
    assert ledger["spend"].sum() == pytest.approx(shown["charged"].sum())
    assert ledger["value"].sum() == pytest.approx(shown["value"].sum())
    assert ledger["clicks"].sum() == shown["click"].sum()
    assert np.isnan(ledger["budget"][0])
    assert ledger["day"].tolist() == [20] * 6 + [21] * 6
    day = pages.budget_row[shown["row"]]
    for d, v in ((0, 1), (1, 5)):
        mine = (day == d) & (shown["advertiser"] == v)
        assert shown["charged"][mine].sum() == pytest.approx(auctions.ledger.spend[d, v])


def test_impressions_are_sorted_by_request_and_slot():
    auctions, pages, book = run()
    shown = impression_columns(auctions, pages.request_id, book.advertiser)
    keys = shown["request_id"].astype(np.int64) * 10 + shown["slot"]
    assert (np.diff(keys) > 0).all()
    np.testing.assert_array_equal(pages.request_id[shown["row"]], shown["request_id"])
    np.testing.assert_array_equal(np.isnan(shown["conversion_s"]), ~shown["conversion"])
    late = shown["conversion_s"] - pages.time_s[shown["row"]]
    assert (late[shown["conversion"]] > 0).all()
