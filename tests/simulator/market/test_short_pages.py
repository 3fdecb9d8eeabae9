"""Auctions of short pages are those of whole ones, bit for bit, however little of the pages is kept."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_worlds import RULES, market, same

from simulator.market import short
from simulator.market.auction import Paths
from simulator.market.pages import MarketError, Rules, Shown
from simulator.market.short import shortened


@settings(max_examples=120)
@given(
    seed=st.integers(0, 10_000),
    slots=st.integers(1, 3),
    advertisers=st.integers(1, 12),
    budget=st.sampled_from([np.inf, 200.0, 40.0, 10.0, 1.0, 0.0]),
    rules=st.sampled_from(RULES),
    seeds=st.sampled_from([(3,), (3, 1, 4)]),
    spare=st.sampled_from([0, 1, 3, short.SPARE]),
)
def test_short_pages_are_auctioned_as_whole_ones(seed, slots, advertisers, budget, rules, seeds, spare):
    order, pages, book = market(seed, rows=60, wide=16, slots=slots, ads=50, advertisers=advertisers)
    budgets = np.full((2, advertisers), budget)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(short, "SPARE", spare)
        few = shortened(pages, book)
    assert few.candidates.shape == (60, slots + spare)
    for given_pages, whole in ((pages, None), (few, pages.take)):
        paths, shown = Paths(book, budgets, rules, seeds), Shown.nothing(60, slots)
        found.append((paths.run(order, given_pages, shown, whole), paths, shown))
    (expected, paths, shown), (expected_short, paths_short, shown_short) = found
    np.testing.assert_array_equal(expected_short, expected)
    np.testing.assert_array_equal(paths_short.totals, paths.totals)
    same(paths_short.ledger, paths.ledger)
    same(shown_short, shown)


def test_a_short_page_has_the_best_of_each_ad_once_and_the_next_best_of_the_rest():
    _, pages, book = market(4, rows=200, wide=20, slots=2, ads=25)
    few = shortened(pages, book)
    for r in range(200):
        value: dict[int, float] = {}
        for c, ad in enumerate(pages.candidates[r].tolist()):
            if ad >= 0:
                value.setdefault(ad, 1000.0 * pages.pctr[r, c] * (book.pcvr[ad] * book.tcpa[ad]))
        best = sorted(value.values(), reverse=True)
        kept = few.candidates[r][few.candidates[r] >= 0].tolist()
        assert [value[ad] for ad in kept] == best[: 2 + short.SPARE]
        assert few.rest[r] == ([*best, *[0.0] * 20])[2 + short.SPARE]


def test_where_budgets_end_whole_pages_are_asked_for_and_without_them_it_is_said():
    order, pages, book = market(6, rows=300, wide=16, advertisers=9)
    budgets = np.full((2, 9), 5.0)
    asked: list[int] = []

    def whole(rows):
        asked.extend(rows.tolist())
        return pages.take(rows)

    Paths(book, budgets, Rules(), (1,)).run(order, shortened(pages, book), whole=whole)
    assert 0 < len(asked) <= 300
    assert len(set(asked)) == len(asked)
    with pytest.raises(MarketError, match="Pass `whole`"):
        Paths(book, budgets, Rules(), (1,)).run(order, shortened(pages, book))


def test_a_page_with_a_prediction_that_is_none_is_not_shortened():
    _, pages, book = market(0, rows=20)
    with pytest.raises(MarketError, match="pctr"):
        shortened(replace(pages, pctr=np.full((20, 8), np.nan)), book)
