"""What every auction keeps: prices below bids, order, ties, one draw for both arms, inputs in range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_worlds import RULES, bidders, free, market, page_of

from simulator.market.auction import auction_order, run_auctions
from simulator.market.pages import MarketError, Rules


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    budget=st.sampled_from([np.inf, 20.0, 3.0, 0.5]),
    rules=st.sampled_from(RULES),
)
def test_prices_budgets_and_payments_hold_in_every_market(seed, budget, rules):
    order, pages, book = market(seed, rows=100)
    budgets = np.full((2, 6), budget)
    run = run_auctions(order, pages, book, budgets, rules, seed)
    shown = run.ad >= 0
    own = run.pcvr * run.bid
    assert (run.price[shown] <= own[shown]).all()
    assert (1000 * run.pctr * run.price)[shown].min(initial=np.inf) >= rules.reserve_ecpm * (1 - 1e-12)
    assert (run.ledger.spend <= budgets).all()
    assert run.charged.sum() == pytest.approx(run.ledger.spend.sum(), rel=1e-8)
    assert run.value.sum() == pytest.approx(run.ledger.value.sum(), rel=1e-12)
    assert run.ledger.clicks.sum() == run.click.sum()
    assert run.ledger.conversions.sum() == run.conversion.sum()
    assert not (run.click & ~shown).any()
    assert not (run.conversion & ~run.click).any()
    for page in run.ad:
        won = page[page >= 0]
        assert len(set(won)) == len(won)
        assert (page[len(won) :] == -1).all()
    if rules.charge != "impression":
        happened = run.click if rules.charge == "click" else run.conversion
        assert (run.charged[~happened] == 0).all()
        paid = run.price / run.pcvr if rules.charge == "conversion" else run.price
        # Nothing is given away: a price is within the budget, or the bid would have been lowered.
        np.testing.assert_allclose(run.charged[happened], paid[happened], rtol=1e-9)
    ecpm = 1000.0 * run.pctr * (run.pcvr * run.bid)  # in the auction's order of rounding
    both = shown[:, 0] & shown[:, 1]
    assert budget < np.inf or (ecpm[both, 0] >= ecpm[both, 1]).all()


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), raise_by=st.floats(1.0, 4.0))
def test_a_higher_bid_never_loses_a_slot(seed, raise_by):
    order, pages, book = market(seed, rows=30, days=1)
    budgets = np.full((1, 6), np.inf)
    before = run_auctions(order, pages, book, budgets, Rules(), seed)
    ad = int(before.ad[before.ad >= 0][0])
    tcpa = book.tcpa.copy()
    tcpa[ad] *= raise_by
    after = run_auctions(order, pages, replace(book, tcpa=tcpa), budgets, Rules(), seed)
    for old, new in zip(before.ad, after.ad, strict=True):
        if ad in old:
            assert ad in new
            assert list(new).index(ad) <= list(old).index(ad)


def test_the_same_page_gets_the_same_clicks_in_either_arm():
    order, pages, book = market(3, rows=400)
    budgets = np.full((2, 6), np.inf)
    control = run_auctions(order, pages, book, budgets, Rules(), 5)
    other = np.where(np.arange(400)[:, None] % 2, pages.pctr, pages.pctr[:, ::-1])
    treatment = run_auctions(order[::-1].copy(), replace(pages, pctr=other), book, budgets, Rules(), 5)
    same_slot = (control.ad == treatment.ad) & (control.ad >= 0)
    # The same ad may stand twice among the candidates, with other truths: compare equal ones.
    same_slot &= (control.p_click == treatment.p_click) & (control.p_convert == treatment.p_convert)
    assert same_slot.sum() > 150
    np.testing.assert_array_equal(control.click[same_slot], treatment.click[same_slot])
    np.testing.assert_array_equal(control.conversion_s[same_slot], treatment.conversion_s[same_slot])


def test_equal_response_times_are_auctioned_by_request_id():
    order = auction_order(np.array([2.0, 1.0, 1.0, 1.0]), np.array([0, 9, 3, 5], np.uint64))
    assert order.tolist() == [2, 3, 1, 0]


def test_ties_in_ecpm_go_to_the_lower_ad():
    pages, book = bidders(np.array([[0.5, 0.5, 0.5]]))
    pages = replace(pages, candidates=np.array([[2, 0, 1]]))
    run = run_auctions(np.array([0]), pages, book, free(book), Rules(), 1)
    assert run.ad[0, 0] == 0
    assert run.price[0, 0] == 0.5


def test_an_advertisers_second_ad_sets_no_price_of_its_first():
    pages, book = page_of(0.9, 0.8, 0.3, owner=(0, 0, 1))
    run = run_auctions(np.array([0]), pages, book, free(book), Rules(), 1)
    assert run.ad.tolist() == [[0, 1]]
    assert run.price.tolist() == [[0.3, 0.3]]


def test_predictions_inflated_alike_change_no_bill_per_click_but_every_bill_per_impression():
    order, pages, book = market(6, rows=1_000)
    budgets, more = np.full((2, 6), np.inf), replace(pages, pctr=pages.pctr * 1.2)
    click = [run_auctions(order, p, book, budgets, Rules(), 1).charged.sum() for p in (pages, more)]
    per_impression = Rules(charge="impression", pricing="first")
    billed = [run_auctions(order, p, book, budgets, per_impression, 1).charged.sum() for p in (pages, more)]
    assert click[1] == pytest.approx(click[0], rel=1e-9)
    assert billed[1] == pytest.approx(1.2 * billed[0], rel=1e-9)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"slots": np.full(20, 3)}, "slots"),
        ({"budget_row": np.full(20, 2)}, "budget_row"),
        ({"candidates": np.full((20, 8), 30)}, "candidates"),
        ({"pctr": np.full((20, 8), np.nan)}, "pctr"),
        ({"p_click": np.full((20, 8, 2), 1.5)}, "p_click"),
        ({"time_s": np.zeros(3)}, "time_s"),
    ],
)
def test_inputs_outside_their_range_are_named(change, names):
    order, pages, book = market(0, rows=20)
    with pytest.raises(MarketError, match=names):
        run_auctions(order, replace(pages, **change), book, np.full((2, 6), 1.0), Rules(), 1)


def test_an_order_that_skips_a_request_is_refused():
    _, pages, book = market(0, rows=20)
    with pytest.raises(MarketError, match="permutation"):
        run_auctions(np.zeros(20, np.int64), pages, book, np.full((2, 6), 1.0), Rules(), 1)


def test_unknown_rules_are_refused():
    with pytest.raises(MarketError, match="pricing"):
        Rules(pricing="third")
    with pytest.raises(MarketError, match="reserve_ecpm"):
        Rules(reserve_ecpm=-1)


def test_a_response_time_that_is_missing_is_refused():
    with pytest.raises(MarketError, match="NaN"):
        auction_order(np.array([1.0, np.nan]), np.array([1, 2], np.uint64))


def test_an_empty_trace_gives_empty_pages():
    order, pages, book = market(0, rows=0)
    run = run_auctions(order, pages, book, np.full((2, 6), 1.0), Rules(), 1)
    assert run.ad.shape == (0, 2)
    assert run.ledger.spend.sum() == 0
