from __future__ import annotations

from dataclasses import fields, replace
from itertools import permutations
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_worlds import market

from simulator.config.market import Charge, Pricing
from simulator.draws import uniform
from simulator.market.auction import Paths, auction_order, run_auctions
from simulator.market.draws import as_uniform, fold, key
from simulator.market.pages import Book, MarketError, Pages, Rules
from simulator.market.plain import run_auctions_plain, run_paths_plain

RULES = (
    *(Rules(pricing=name) for name in get_args(Pricing)),
    Rules(reserve_ecpm=150.0),
    Rules(charge="impression", reserve_ecpm=50.0),
    Rules(pricing="first", charge="conversion"),
    Rules(pacing="throttle"),
    Rules(pacing="shade", pricing="first", charge="impression"),
    Rules(pricing="vcg", charge="conversion", reserve_ecpm=80.0, slot_weights=(1.0, 0.7, 0.4)),
)


def same(a, b):
    for f in fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if f.name == "ledger":
            same(x, y)
        else:
            np.testing.assert_array_equal(x, y, err_msg=f.name)


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=40, deadline=None)
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


@settings(max_examples=40, deadline=None)
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


def bidders(values: np.ndarray) -> tuple[Pages, Book]:
    """One-slot auctions whose bids per impression are `values` (R, C): every click certain."""
    rows, wide = values.shape
    ads = rows * wide
    pages = Pages(
        request_id=np.arange(rows, dtype=np.uint64),
        time_s=np.zeros(rows),
        candidates=np.arange(ads).reshape(rows, wide),
        pctr=np.ones((rows, wide)),
        slots=np.ones(rows, np.int64),
        budget_row=np.zeros(rows, np.int64),
        p_click=np.ones((rows, wide, 1)),
        p_convert=np.ones((rows, wide)),
    )
    return pages, Book(np.ones(ads), values.ravel(), np.tile(np.arange(wide), rows))


def free(book: Book) -> np.ndarray:
    """No budget for anyone."""
    return np.full((1, book.advertiser.max() + 1), np.inf)


@settings(max_examples=40, deadline=None)
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


def page_of(*values: float, owner: tuple[int, ...] = (), slots: int = 2) -> tuple[Pages, Book]:
    """One page on which every ad is clicked; its bids per click, and whose they are."""
    pages, book = bidders(np.array([values]))
    pages = replace(pages, slots=np.array([slots]), p_click=np.ones((1, len(values), slots)))
    return pages, replace(book, advertiser=np.array(owner or range(len(values))))


def test_an_advertisers_second_ad_sets_no_price_of_its_first():
    pages, book = page_of(0.9, 0.8, 0.3, owner=(0, 0, 1))
    run = run_auctions(np.array([0]), pages, book, free(book), Rules(), 1)
    assert run.ad.tolist() == [[0, 1]]
    assert run.price.tolist() == [[0.3, 0.3]]


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


@settings(max_examples=60, deadline=None)
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


def test_expected_revenue_equals_spend_in_the_mean():
    order, pages, book = market(5, rows=4_000)
    gaps = []
    for seed in range(30):
        run = run_auctions(order, pages, book, np.full((2, 6), 40.0), Rules(), seed)
        gaps.append(run.expected_revenue.sum() - run.ledger.spend.sum())
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / len(gaps) ** 0.5


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
