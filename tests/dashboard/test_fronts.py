"""What-if marks what no other setting beats, and the cheapest, as the sweep's answers have them."""

import made_runs
import pytest
from page_driver import WHAT_IF, opened, texts
from test_truth_page import drawn, with_key

from simulator.results.answers.build import answers_of
from simulator.results.answers.terms import terms_of
from simulator.results.read import read_sweep

__all__ = ["drawn"]  # a fixture
BUDGETS = (10.0, 20.0, 30.0)


def cards() -> list[dict]:
    """By budget: a longer one gains more and takes longer; at 20 ms the control is slower than at 10."""
    found = []
    for lift, p99_ms, control_ms in ((0.01, 8.0, 6.0), (0.03, 14.0, 7.0), (0.02, 25.0, 6.5)):
        arms = {"control": made_runs.control(), "treatment": made_runs.treatment()}
        arms["treatment"]["metrics"]["advv_per_request"]["true_lift"] = lift
        for name, value in (("control", control_ms), ("treatment", p99_ms)):
            arms[name]["values"]["p99_ms"] |= {"true_value": value}
        found.append(made_runs.scorecard(arms))
    return found


@pytest.fixture
def sweep(folder):
    path = made_runs.write_sweep(folder / "sweep", BUDGETS, made_runs.sweep_rows(BUDGETS), cards())
    return read_sweep(path)


def test_marked_is_what_no_other_budget_beats(sweep, drawn):
    opened(WHAT_IF, **{"experiment.budget_ms": "20"})
    rows = with_key(drawn, "cheapest")
    assert len(rows) == 2 * len(BUDGETS)
    # Control at 10 ms is fastest; each treatment but that at 30 ms, which is slower and gains less.
    assert [row["setting"].partition(", ")[0] for row in rows if row["front"]] == [
        "control",
        "treatment",
        "treatment",
    ]
    assert sorted(row["lift"] for row in rows if row["front"]) == [0.0, 0.01, 0.03]
    assert [row["p99_ms"] for row in rows if row["chosen"]] == [7.0, 14.0]


def test_the_square_is_about_the_cheapest_of_the_answers(sweep, drawn):
    opened(WHAT_IF, **{"experiment.budget_ms": "20"})
    (marked,) = (row for row in with_key(drawn, "cheapest") if row["cheapest"])
    answers = answers_of(sweep, terms_of(sweep))["cheapest"]["all"]
    (own,) = (one["true_value"] for one in answers if one["at"] == {"experiment.budget_ms": 20})
    assert (marked["arm"], marked["p99_ms"], marked["cost"]) == (
        own["arm"],
        own["p99_ms"]["true_value"],
        own["per_hour"],
    )


def test_without_known_truths_nothing_is_marked(folder, drawn):
    bare = cards()
    for card in bare:
        for arm in card["arms"].values():
            arm["values"]["p99_ms"]["true_value"] = None
    made_runs.write_sweep(folder / "sweep", BUDGETS, made_runs.sweep_rows(BUDGETS), bare)
    assert "No arm's lift, P99 and servers are all known" in texts(opened(WHAT_IF))
    assert not any("cheapest" in rows[0] for rows in drawn if rows)
