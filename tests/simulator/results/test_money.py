"""What a scorecard says of its market, in sentences."""

from typing import Any

from simulator.results.money import money_sentences

SAID: dict[str, Any] = {
    "budget_clicks": {"least": 10.0, "median": 12.4, "few": False},
    "exhausted_share": {"ab": 0.25, "all:control": 0.2, "all:treatment": 0.3},
    "revenue_lost": 0.015,
    "pcvr": {"held_out_promised": 101.4, "held_out_converted": 99},
    "conversions": 200,
    "conversions_after_end": 3,
}


def test_every_fact_of_the_market_is_said() -> None:
    budgets, pcvr, late = money_sentences({"market": SAID})
    assert "12 clicks at the median, 10 at least" in budgets
    assert "the A/B 25.0%, all control 20.0%, all treatment 30.0%" in budgets
    assert "took 1.5% of the A/B's revenue" in budgets
    assert "fewer than five" not in budgets
    assert "promise 101 conversions of the held-out log's clicks, which had 99" in pcvr
    assert "3 of 200 conversions (1.5%) came after the experiment's end" in late


def test_budgets_of_a_few_clicks_are_called_so() -> None:
    few = SAID | {"budget_clicks": {"least": 0.5, "median": 12.4, "few": True}}
    assert "fewer than five ends by which click is drawn" in money_sentences({"market": few})[0]


def test_a_scorecard_that_does_not_say_whether_they_are_few_is_read_too() -> None:
    older = SAID | {"budget_clicks": {"least": 10.0, "median": 12.4}}
    assert money_sentences({"market": older}) == money_sentences({"market": SAID})


def test_without_budgets_or_conversions_nothing_is_said_of_them() -> None:
    none = dict.fromkeys(SAID) | {"conversions": 0, "conversions_after_end": 0}
    assert money_sentences({"market": none}) == money_sentences({}) == []
