"""What a sweep answers: edges where arithmetic puts them, fronts by brute force, and why there is nothing."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_runs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from simulator.cli import app
from simulator.commands.whatif.sweep import show
from simulator.results import numbers
from simulator.results.answers.build import answers_of
from simulator.results.answers.cost import cheapest, pareto
from simulator.results.answers.edge import edge, place
from simulator.results.answers.grid import Known
from simulator.results.answers.terms import Terms, terms_of
from simulator.results.answers.text import answer_lines, cheapest_in_short, in_short
from simulator.results.axes import BUDGET, Axis, as_json, cells_of
from simulator.results.read import Sweep, read_sweep
from simulator.results.run_folder import SweepWriter
from simulator.results.schemas import sweep_schema

RATE = "traffic.requests_per_s"
Change = Callable[[dict[str, Any], dict[str, Any]], None]


def sweep_of(folder: Path, axes: list[Axis], change: Change, card: dict[str, Any] | None = None) -> Sweep:
    """A sweep whose cells are one scorecard, changed by their settings."""
    with SweepWriter.create(folder / "sweep", made_runs.manifest(axes=as_json(axes))) as writer:
        for cell, settings in enumerate(cells_of(axes)):
            made = copy.deepcopy(card or made_runs.scorecard())
            made["budget_ms"] = settings.get(BUDGET, made["budget_ms"])
            change(settings, made)
            writer.write_cell(cell, made)
        writer.write_text("experiment.toml", made_runs.EXPERIMENT)
        writer.update_manifest(status="running")
    return read_sweep(folder / "sweep")


def set_lift(
    card: dict[str, Any], lift: float, half: float = 0.02, se: float = 0.01, arm: str = "treatment"
) -> None:
    entry = card["arms"][arm]["metrics"]["advv_per_request"]
    entry |= {"lift": lift, "ci": [lift - half, lift + half], "true_lift": lift, "true_se": se}


def set_p99(card: dict[str, Any], p99: float, arm: str = "treatment") -> None:
    card["arms"][arm]["values"]["p99_ms"] |= {"value": p99, "true_value": p99, "ci": [p99 * 0.9, p99 * 1.1]}


def test_an_edge_lies_where_the_line_over_the_logarithm_crosses() -> None:
    xs = [1.0, 2.0, 5.0, 20.0]
    found = edge(xs, [1.5 - math.log(x) for x in xs], lambda margin: margin > 0)
    assert found.state == "found"
    assert found.at == pytest.approx(math.exp(1.5))
    assert found.index == 1
    assert edge(xs, [1, 1, 1, 1], lambda margin: margin > 0).state == "always"
    assert edge(xs, [0, 1, 1, 1], lambda margin: margin > 0).state == "never"
    assert edge(xs, [None] * 4, lambda margin: margin > 0).state == "unknown"
    # What is not known is passed over.
    passed = edge(xs, [1.5, None, 1.5 - math.log(5), None], lambda margin: margin > 0)
    assert passed.at == pytest.approx(math.exp(1.5))


def test_an_edges_error_is_the_margins_over_the_slope() -> None:
    xs = [40.0, 20.0, 10.0, 5.0]  # the good end first
    margins = [Known(g := math.log(x / 12), (g - 0.3, g + 0.3), g, 0.05) for x in xs]
    found = place(xs, margins, lambda lift: lift > 0)
    assert found.true.at == found.told.at == pytest.approx(12)
    assert found.true_se == pytest.approx(12 * 0.05)
    assert found.ci == pytest.approx((12 * math.exp(-0.3), 12 * math.exp(0.3)))


def test_the_budget_at_which_a_treatment_stops_winning(tmp_path: Path) -> None:
    budgets = Axis(BUDGET, (5.0, 10.0, 20.0, 40.0), 20.0)
    sweep = sweep_of(
        tmp_path, [budgets], lambda at, card: set_lift(card, 0.1 * math.log(at[BUDGET] / 12), 0.03)
    )
    found = answers_of(sweep, Terms())["break_even_ms"]
    assert found["true_value"] == found["value"] == pytest.approx(12)
    assert found["true_se"] == pytest.approx(12 * 0.01 / 0.1)
    assert found["ci"] == pytest.approx([12 * math.exp(-0.3), 12 * math.exp(0.3)])
    assert found["between"] == [10.0, 20.0]
    assert found["reason"] is None


@pytest.mark.parametrize(("lift", "says"), [(0.1, "every simulated budget"), (0.0, "no simulated budget")])
def test_a_break_even_that_lies_beyond_is_null_with_a_reason(lift: float, says: str, tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, [Axis(BUDGET, (5.0, 10.0), 5.0)], lambda _, card: set_lift(card, lift))
    found = answers_of(sweep, Terms())["break_even_ms"]
    assert found["true_value"] is None
    assert says in found["reason"]


def test_the_most_traffic_is_where_the_first_limit_is_reached(tmp_path: Path) -> None:
    rates = Axis(RATE, (100.0, 200.0, 400.0, 800.0), 200.0)

    def busier(at: dict[str, Any], card: dict[str, Any]) -> None:
        for arm in card["arms"].values():
            arm["serving"]["requests_per_s"] = at[RATE]
        # A limit of 25 ms is reached at 300 requests/s, on a line over the logarithm.
        set_p99(card, 25 * (1 + 0.2 * math.log(at[RATE] / 300)))

    found = answers_of(sweep_of(tmp_path, [rates], busier), Terms())["max_requests_per_s"]
    assert found["arm"] == "treatment"
    assert found["true_value"] == pytest.approx(300)
    assert (found["limit"], found["between"]) == ("p99_ms", [200.0, 400.0])
    low, high = found["ci"]
    assert low < 300 < high
    of_control = next(one for one in found["all"] if one["arm"] == "control")
    assert "every simulated traffic" in of_control["reason"]


def test_late_answers_end_it_before_p99_does(tmp_path: Path) -> None:
    def late(at: dict[str, Any], card: dict[str, Any]) -> None:
        share = at[RATE] / 10_000
        card["arms"]["treatment"]["serving"]["requests_per_s"] = at[RATE]
        card["arms"]["treatment"]["values"]["missed_share"] |= {"true_value": share, "value": share}

    sweep = sweep_of(tmp_path, [Axis(RATE, (50.0, 400.0))], late)
    assert answers_of(sweep, Terms())["max_requests_per_s"]["limit"] == "missed_share"
    loose = answers_of(sweep, Terms(late_share=0.5))["max_requests_per_s"]
    assert "every simulated traffic" in loose["reason"]


def test_the_cheapest_is_the_cheapest_that_holds(tmp_path: Path) -> None:
    scorers = Axis("arms.treatment.scorers", (1, 2, 4), 1)

    def faster(at: dict[str, Any], card: dict[str, Any]) -> None:
        number = at["arms.treatment.scorers"]
        card["arms"]["treatment"]["serving"]["scorers"] = number
        set_p99(card, 60 / number)  # within 25 ms from 4 on; of 2 it is 30
        card["arms"]["control"]["values"]["p99_ms"]["true_value"] = 99.0

    sweep = sweep_of(tmp_path, [scorers], faster)
    found = answers_of(sweep, Terms(scorer_per_hour=3.0, worker_per_hour=0.5, priced=True))["cheapest"]
    assert (found["true_value"]["arm"], found["true_value"]["scorers"]) == ("treatment", 4)
    assert found["true_value"]["per_hour"] == 4 * 3.0 + 2 * 0.5
    looser = answers_of(sweep, Terms(p99_ms=30.0))["cheapest"]["true_value"]
    assert looser["scorers"] == 2
    none = answers_of(sweep, Terms(p99_ms=1.0))["cheapest"]
    assert none["true_value"] is None
    assert "P99 latency" in none["reason"]
    # In short.
    assert cheapest_in_short(found, sweep.axes) == "treatment, scorers 4, is the cheapest that holds all"
    assert cheapest_in_short(none, sweep.axes) == none["reason"]


def test_what_loses_revenue_is_not_the_cheapest(tmp_path: Path) -> None:
    def loses(at: dict[str, Any], card: dict[str, Any]) -> None:
        card["arms"]["treatment"]["metrics"]["revenue_per_request"]["true_lift"] = -0.05

    sweep = sweep_of(tmp_path, [Axis(BUDGET, (25.0,), 25.0)], loses)
    found = answers_of(sweep, Terms())["cheapest"]
    assert found["true_value"]["arm"] == "control"
    assert cheapest_in_short(found, sweep.axes) == "control is the cheapest that holds all at budget 25 ms"
    assert in_short(answers_of(sweep, Terms()), sweep.axes).startswith("worth it at 0 of 1 settings; control")
    looser = answers_of(sweep, Terms(revenue_floor=-0.06))
    said = "worth it at 1 of 1 settings, most at budget 25 ms; treatment is the cheapest"
    assert in_short(looser, sweep.axes).startswith(said)
    (worth,) = answers_of(sweep, Terms())["worth"]
    assert (worth["true_worth"], worth["breaks"]) == (False, ["revenue_per_request"])
    assert answers_of(sweep, Terms(revenue_floor=-0.06))["worth"][0]["true_worth"] is True


def option(lift: float, p99: float, cost: float) -> dict[str, Any]:
    return {"lift": {"true_value": lift}, "p99_ms": {"true_value": p99}, "per_hour": cost}


@given(st.lists(st.tuples(*[st.integers(1, 4)] * 3), min_size=1, max_size=12))
def test_a_front_is_what_nothing_beats(numbers: list[tuple[int, int, int]]) -> None:
    group = [option(*map(float, three)) for three in numbers]
    (front,) = pareto([group])
    left = [three for three in numbers if not any(
        o[0] >= three[0] and o[1] <= three[1] and o[2] <= three[2] and o != three for o in numbers
    )]  # fmt: skip
    assert sorted(
        (o["lift"]["true_value"], o["p99_ms"]["true_value"], o["per_hour"]) for o in front
    ) == sorted(left)
    assert (
        cheapest([[{**o, "breaks": [], "doubts": ["p99_ms"], "needed": None, "at": {}} for o in group]])[0][
            "value"
        ]
        is None
    )


def test_identical_arms_win_nowhere_and_nothing_beats_either(tmp_path: Path) -> None:
    card = made_runs.scorecard()
    card["arms"]["treatment"] |= {k: copy.deepcopy(card["arms"]["control"][k]) for k in ("values", "serving")}
    for entry in card["arms"]["treatment"]["metrics"].values():
        entry |= {"lift": 0.0, "ci": [0.0, 0.0], "true_lift": 0.0, "true_se": 0.0}
    sweep = sweep_of(tmp_path, [Axis(BUDGET, (10.0, 25.0), 25.0)], lambda _at, _card: None, card)
    found = answers_of(sweep, Terms())
    assert {one["true_worth"] for one in found["worth"]} == {None}
    assert {one["told"] for one in found["worth"]} == {None}
    assert "no simulated budget" in found["break_even_ms"]["reason"]
    assert [len(one["true_value"]) for one in found["pareto"]["all"]] == [2, 2]


HISTORY = "arms.treatment.history"


def lift_of(option: dict[str, Any]) -> float:
    return float(option["lift"]["true_value"])


def test_equal_settings_of_an_arm_are_one_option_and_take_one_traffic(tmp_path: Path) -> None:
    def longer(at: dict[str, Any], card: dict[str, Any]) -> None:
        # A longer history gains more and takes longer: nothing beats any of them, nor control.
        set_lift(card, at[HISTORY] / 10_000)
        set_p99(card, at[HISTORY] / 10)
        set_p99(card, 2.0, arm="control")
        for arm in card["arms"].values():
            arm["serving"]["requests_per_s"] = at[RATE]

    axes = [Axis(HISTORY, (50, 100, 200), 100), Axis(RATE, (100.0, 400.0), 100.0)]
    sweep = sweep_of(tmp_path, axes, longer)
    found = answers_of(sweep, Terms())
    assert [one["at"] for one in found["cheapest"]["all"]] == [{RATE: 100.0}, {RATE: 400.0}]
    for front, rate in zip(found["pareto"]["all"], (100.0, 400.0), strict=True):
        assert [(o["arm"], o["at"]) for o in sorted(front["true_value"], key=lift_of)] == [
            ("control", {RATE: rate}),
            *(("treatment", {HISTORY: history, RATE: rate}) for history in (50, 100, 200)),
        ]
    asked = found["max_requests_per_s"]["all"]
    assert [one["at"] for one in asked if one["arm"] == "control"] == [{}]
    assert [one["at"] for one in asked if one["arm"] == "treatment"] == [
        {HISTORY: history} for history in (50, 100, 200)
    ]
    said = "\n".join(answer_lines(found, axes))
    assert said.count("; control: true lift") == 2  # in each of two fronts; the cheapest is a treatment


def test_a_treatment_over_another_control_is_another_option(tmp_path: Path) -> None:
    def other(at: dict[str, Any], card: dict[str, Any]) -> None:
        set_lift(card, at["arms.control.history"] / 10_000)
        set_p99(card, at["arms.control.history"] / 10)
        set_p99(card, at["arms.control.history"] / 20, arm="control")

    sweep = sweep_of(tmp_path, [Axis("arms.control.history", (50, 200), 50)], other)
    (front,) = answers_of(sweep, Terms())["pareto"]["all"]
    assert sorted((o["arm"], o["cell"]) for o in front["true_value"]) == [
        ("control", 0),
        ("treatment", 0),
        ("treatment", 1),
    ]


def test_a_treatment_is_compared_with_a_treatment(tmp_path: Path) -> None:
    other = made_runs.treatment()
    arms = {"control": made_runs.control(), "treatment": made_runs.treatment(), "other": other}
    for name, value, lift in (("treatment", 2.0, 0.1), ("other", 2.5, 0.375)):
        arms[name]["metrics"]["advv_per_request"] |= {"true_lift": lift, "true_se": 0.01}
        arms[name]["values"]["advv_per_request"] = {
            "value": value, "ci": [value * 0.9, value / 0.9], "true_value": value * 1.1, "unit": "currency",
        }  # fmt: skip
    card = made_runs.scorecard(arms)
    sweep = sweep_of(tmp_path, [Axis(BUDGET, (25.0,), 25.0)], lambda _at, _card: None, card)
    (found,) = answers_of(sweep, Terms())["versus"]
    assert (found["treatment"], found["against"]) == ("treatment", "other")
    assert found["value"] == found["true_value"] == pytest.approx(2.0 / 2.5 - 1)
    half = math.sqrt(2) * math.log(1 / 0.9)
    assert found["ci"] == pytest.approx([0.8 / math.exp(half) - 1, 0.8 * math.exp(half) - 1])
    # An older scorecard has no errors over both arms' users: each lift's own stand in.
    own = math.hypot(0.01 / 1.1, 0.01 / 1.375)
    assert (found["true_se"], found["paired"]) == (pytest.approx(0.8 * own), False)


def three_arms(lifts: tuple[float, float], se: float) -> dict[str, Any]:
    """A scorecard of two treatments, compared in the same users with this error."""
    arms = {"control": made_runs.control(), "t500": made_runs.treatment(), "t1000": made_runs.treatment()}
    card = made_runs.scorecard(arms)
    for arm, lift in zip(("t500", "t1000"), lifts, strict=True):
        set_lift(card, lift, se=0.01, arm=arm)
    over = (1 + lifts[0]) / (1 + lifts[1]) - 1
    pair = {"treatment": "t500", "against": "t1000", "metric": "advv_per_request"}
    return {**card, "pairs": [{**pair, "true_lift": over, "true_se": se}]}


@pytest.mark.parametrize(("se", "told"), [(0.001, True), (0.004, False)])
def test_treatments_of_one_run_are_told_apart_in_the_same_users(
    se: float, told: bool, tmp_path: Path
) -> None:
    # Either lift's own error is .01: by these, 5.5 and 5 % are never told apart.
    for i, lifts in enumerate(((0.055, 0.05), (0.05, 0.055))):
        card = three_arms(lifts, se)
        sweep = sweep_of(tmp_path / str(i), [Axis(BUDGET, (25.0,), 25.0)], lambda _at, _card: None, card)
        answers = answers_of(sweep, Terms())
        (found,) = answers["versus"]
        assert (found["true_se"], found["told_apart"], found["paired"]) == (se, told, True)
        said = "\n".join(answer_lines(answers, sweep.axes))
        distinguished = "" if told else ", not distinguished"
        assert f"{numbers.lift(found['true_value'])} ± {numbers.error(se)}{distinguished}; the A/B" in said
        best, rival = ("t500", "t1000") if i == 0 else ("t1000", "t500")
        short = in_short(answers, sweep.axes)
        apart = "" if told else f", not told apart from {rival}"
        assert f"most with {best} at budget 25 ms{apart};" in short


def test_a_treatment_that_breaks_its_limits_is_not_counted_with_one_that_does_not(tmp_path: Path) -> None:
    card = three_arms((0.05, 0.06), 0.001)
    set_p99(card, 99.0, arm="t1000")
    sweep = sweep_of(tmp_path, [Axis(RATE, (100.0, 200.0), 100.0)], lambda _at, _card: None, card)
    said = in_short(answers_of(sweep, Terms()), sweep.axes)
    assert said.startswith("worth it: t500 at 2 of 2 settings, t1000 at 0 of 2, most with t500 at")


def paired_sweep(folder: Path, users: tuple[int, int]) -> Sweep:
    """Two cells, of 5.5 and 5 % ± 1 %; all that either lift varies by is the same in both, but for .1 %."""
    rng, count = np.random.default_rng(7), 400
    axes = [Axis(HISTORY, (500, 1000), 1000)]
    common, own = (rng.standard_normal(count) for _ in range(2))
    with SweepWriter.create(folder / "sweep", made_runs.manifest(axes=as_json(axes))) as writer:
        for cell, lift in enumerate((0.055, 0.05)):
            card = made_runs.scorecard()
            added = (0.0095 * common + 0.001 * cell * own) / math.sqrt(count)
            error = math.sqrt(float(added @ added) * count / (count - 1))
            set_lift(card, lift, se=(1 + lift) * error)
            table = {
                "arm": np.full(count, "treatment"), "user_id": users[cell] + np.arange(count),
                "requests": np.full(count, 3), "log_lift": added,
            }  # fmt: skip
            writer.write_cell(cell, card, table)
        writer.write_text("experiment.toml", made_runs.EXPERIMENT)
        writer.update_manifest(status="running")
    return read_sweep(folder / "sweep")


def test_cells_of_one_world_are_told_apart_in_the_same_users(tmp_path: Path) -> None:
    same, other = (paired_sweep(tmp_path / str(users), (0, users)) for users in (0, 1000))
    best, less = answers_of(same, Terms())["worth"]
    assert best["short_of_most"] is None
    short = less["short_of_most"]
    assert short["true_value"] == pytest.approx(1.055 / 1.05 - 1)
    assert (short["true_se"], short["told_apart"], short["paired"]) == (
        pytest.approx(0.001, rel=0.1),
        True,
        True,
    )
    assert "most at history 500; treatment, history 500, is the cheapest" in in_short(
        answers_of(same, Terms()), same.axes
    )
    # Of other users the errors of both add up, and tell nothing; nothing is claimed then.
    apart = answers_of(other, Terms())
    short = apart["worth"][1]["short_of_most"]
    assert (short["true_se"], short["told_apart"], short["paired"]) == (
        pytest.approx(0.0134, rel=0.1),
        False,
        False,
    )
    said = in_short(apart, other.axes)
    assert "most at history 500, not told apart from history 1000; treatment, history 500, is" in said
    assert said.endswith("holds all, not told apart from 1 other as cheap")
    lines = "\n".join(answer_lines(apart, other.axes))
    assert ", not told apart from the most; the A/B: +5.0%" in lines
    assert "by their own errors, as if they were of different users" in lines


def test_where_the_world_is_too_small_an_answer_says_how_large_it_must_be(tmp_path: Path) -> None:
    def small(at: dict[str, Any], card: dict[str, Any]) -> None:
        set_lift(card, 0.1 * math.log(at[BUDGET] / 12), half=0.5)
        needed = {"lift": 0.1, "requests": 7000 * at[BUDGET], "users": 70, "days": 7}
        card["arms"]["treatment"]["metrics"]["advv_per_request"]["needed"] = needed

    sweep = sweep_of(tmp_path, [Axis(BUDGET, (5.0, 10.0, 20.0), 20.0)], small)
    found = answers_of(sweep, Terms())
    assert found["break_even_ms"]["ci"] == [None, None]
    assert found["break_even_ms"]["needed"]["requests"] == 140_000  # the larger of both sides'
    assert [one["needed"]["requests"] for one in found["worth"]] == [35_000, 70_000, 140_000]
    assert "about 140,000 requests" in "\n".join(answer_lines(found, sweep.axes))


@pytest.mark.parametrize("half", [0.3, 0.6])
def test_an_edge_of_traffic_that_is_not_bounded_says_how_large_the_world_must_be(
    half: float, tmp_path: Path
) -> None:
    limit_ms, slope, edge = 25.0, 0.2, 300.0

    def busier(at: dict[str, Any], card: dict[str, Any]) -> None:
        for arm in card["arms"].values():
            arm |= {"requests": 4000, "units": 500}
            arm["serving"]["requests_per_s"] = at[RATE]
        p99_ms = limit_ms * (1 + slope * math.log(at[RATE] / edge))
        set_p99(card, p99_ms)
        ci = [p99_ms - half * limit_ms, p99_ms + half * limit_ms]
        card["arms"]["treatment"]["values"]["p99_ms"]["ci"] = ci

    sweep = sweep_of(tmp_path, [Axis(RATE, (200.0, 400.0), 200.0)], busier)
    found = answers_of(sweep, Terms())["max_requests_per_s"]
    assert found["ci"] == [None, None]
    # The nearer side, 400, is a share of .2 ln(400/300) from the limit: 80 % power is 2.8 standard errors.
    times = (2.8016 * half / 1.95996 / (slope * math.log(400 / edge))) ** 2
    assert found["needed"]["requests"] == pytest.approx(8000 * times, rel=1e-3)
    assert found["needed"]["users"] == pytest.approx(1000 * times, rel=1e-3)


def test_the_cheapest_says_what_it_takes_to_be_shown(tmp_path: Path) -> None:
    def unsure(at: dict[str, Any], card: dict[str, Any]) -> None:
        for arm in card["arms"].values():
            arm |= {"requests": 4000, "units": 500}
            # True 20 ms of 25, the interval to 45: its half would have to be 5 / 1.43.
            arm["values"]["p99_ms"] |= {"value": 22.0, "true_value": 20.0, "ci": [10.0, 45.0]}

    sweep = sweep_of(tmp_path, [Axis(BUDGET, (25.0,), 25.0)], unsure)
    answers = answers_of(sweep, Terms(revenue_floor=-0.5))
    found = answers["cheapest"]
    assert (found["value"], found["true_value"]["doubts"]) == (None, ["p99_ms"])
    assert found["needed"]["requests"] == pytest.approx(8000 * (2.8016 / 1.95996 * 23 / 5) ** 2, rel=1e-3)
    said = "\n".join(answer_lines(answers, sweep.axes))
    assert "To show what is asked of P99 takes about 350,000 requests" in said
    shown = answers_of(sweep, Terms(p99_ms=50.0, revenue_floor=-0.5))["cheapest"]
    assert (shown["value"]["doubts"], shown["needed"]) == ([], None)


def test_no_size_tells_what_lies_on_the_limit_or_has_no_interval(tmp_path: Path) -> None:
    def on_it(at: dict[str, Any], card: dict[str, Any]) -> None:
        for arm in card["arms"].values():
            arm["values"]["p99_ms"] |= {"value": 25.0, "true_value": 25.0, "ci": [20.0, 30.0]}
        card["arms"]["control"]["values"]["p99_ms"]["ci"] = None

    sweep = sweep_of(tmp_path, [Axis(BUDGET, (25.0,), 25.0)], on_it)
    found = answers_of(sweep, Terms())
    assert found["cheapest"]["true_value"] is not None
    assert found["cheapest"]["needed"] is None


def test_the_spread_over_seeds_stands_beside_the_error_within_one_world(tmp_path: Path) -> None:
    true = {7: 0.02, 8: 0.05, 9: -0.01}

    def drawn(at: dict[str, Any], card: dict[str, Any]) -> None:
        set_lift(card, true[at["seed"]] + at[BUDGET] / 1000, half=0.03, se=0.004)
        card["arms"]["treatment"]["metrics"]["advv_per_request"]["true_lift"] = true[at["seed"]]

    axes = [Axis("seed", (7, 8, 9), 7), Axis(BUDGET, (10.0, 40.0), 10.0)]
    found = answers_of(sweep_of(tmp_path, axes, drawn), Terms())["replications"]
    assert [one["at"] for one in found] == [{BUDGET: 10.0}, {BUDGET: 40.0}]
    for one in found:
        assert (one["seeds"], one["least"], one["most"]) == (3, -0.01, 0.05)
        assert one["true_value"] == pytest.approx(0.02)
        assert one["spread"] == pytest.approx(0.03)
        assert one["se"] == pytest.approx(0.03 / math.sqrt(3))
        assert one["within"] == pytest.approx(0.004)
    # Estimates 10 points of a per mille off are within three percent, 40 are not.
    assert [one["covered"] for one in found] == [1.0, 0.0]


def test_a_sweep_of_something_else_says_what_to_add(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, [Axis("arms.treatment.history", (50, 200))], lambda _at, _card: None)
    found = answers_of(sweep, terms_of(sweep))
    assert "--over experiment.budget_ms" in found["break_even_ms"]["reason"]
    assert "--over traffic.requests_per_s" in found["max_requests_per_s"]["reason"]
    assert found["cheapest"]["reason"] is None


def test_report_prints_a_sweeps_answers(tmp_path: Path) -> None:
    folder = made_runs.write_sweep(tmp_path / "sweep")
    asked = ["report", str(folder), "--json", "--p99-ms", "40", "--price-per-hour", "2.5,0.5"]
    answers = json.loads(CliRunner().invoke(app, asked).stdout)["answers"]
    assert {"break_even_ms", "max_requests_per_s", "cheapest", "pareto"} <= set(answers)
    assert answers["terms"]["p99_ms"] == 40.0
    assert answers["cheapest"]["true_value"]["per_hour"] == 2.5 + 2 * 0.5
    printed = CliRunner().invoke(app, ["report", str(folder)]).stdout
    assert "Is it worth it?" in printed
    assert "Not told: the sweep does not vary the traffic" in printed


@pytest.mark.parametrize(
    "wrong",
    [["--format", "csv"], ["--price-per-hour", "free"], ["--price-per-hour", "-1"], ["--late-share", "2"]],
)
def test_report_refuses_what_a_sweep_has_not(wrong: list[str], tmp_path: Path) -> None:
    folder = made_runs.write_sweep(tmp_path / "sweep")
    assert CliRunner().invoke(app, ["report", str(folder), *wrong]).exit_code == 2


def test_limits_are_not_asked_of_a_run(tmp_path: Path) -> None:
    run = made_runs.write_run(tmp_path / "run")
    result = CliRunner().invoke(app, ["report", str(run), "--p99-ms", "10"])
    assert result.exit_code == 2


def test_a_sweep_over_three_settings_is_printed_in_80_columns_with_nothing_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = (5.0, 10.0)
    axes = [Axis("arms.treatment.history", (1000,)), Axis("traffic.load", (0.6,)), Axis(BUDGET, budgets)]
    rows = made_runs.sweep_rows(budgets)
    rows |= {axis.key: axis.values * len(rows["cell"]) for axis in axes[:2]}
    with SweepWriter.create(tmp_path / "sweep", made_runs.manifest(axes=as_json(axes))) as writer:
        for cell in range(len(budgets)):
            writer.write_cell(cell, made_runs.scorecard())
        writer.write_table("sweep", rows, sweep_schema(axes))
        writer.finish()
    monkeypatch.setenv("COLUMNS", "80")
    show(tmp_path / "sweep", as_json=False)
    table = capsys.readouterr().out.partition("Lifts over the control")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table
    lifts = zip(rows["metric"], rows["true_value"], strict=True)
    assert all(numbers.lift(true) in table for metric, true in lifts if metric == "advv_per_request_lift")
