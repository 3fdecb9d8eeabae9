"""Designs on a market whose truth is known: exact identities, and which of them the budgets bias."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from known_arms import bench, market, plan

from simulator.analysis.inference import estimate
from simulator.designs.compare import compare_designs
from simulator.designs.design import Population
from simulator.designs.estimates import read
from simulator.designs.evidence import Evidence
from simulator.designs.layouts import Switchback, TwoSided, UserSplit, designs
from simulator.designs.words import choice, explained, sentence
from simulator.errors import SimulatorError
from simulator.metrics import BY_NAME, RATIOS

REVENUE = "revenue_per_request"
TIGHT = 0.37  # budgets of about ten clicks, a third of what advertisers would spend
ASKED = (UserSplit(), UserSplit(split_budgets=True), Switchback())
ALONE = ("user split", "ramp", "hold-out", "switchback, 24 h")


@cache
def compared(share: float, same: bool) -> dict[str, Any]:
    return compare_designs(bench(share, same=same), designs(), 3)


@cache
def tight() -> dict[str, Any]:
    return compare_designs(bench(TIGHT), ASKED, 16)


def interference(found: dict[str, Any], name: str) -> dict[str, float]:
    return {metric: own["interference"] for metric, own in found["designs"][name]["metrics"].items()}


def test_identical_arms_do_nothing_to_each_other() -> None:
    found = compared(TIGHT, True)
    assert {truth["lift"] for truth in found["truth"].values()} == {0.0}
    for name in (*ALONE, "advertiser split", "two-sided"):
        assert set(interference(found, name).values()) == {0.0}, name


def test_without_budgets_only_designs_that_share_a_page_are_biased() -> None:
    found = compared(np.inf, False)
    for name in (*ALONE, "budget split"):
        assert set(interference(found, name).values()) == {0.0}, name
    assert interference(found, "advertiser split")["ctr"] != 0
    assert found["worlds"]["control"] == {"exhausted_share": 0.0, "revenue_missed": 0.0}


def test_tight_budgets_bias_the_user_split_and_not_the_designs_that_part_them() -> None:
    found = tight()
    naive, parted, days = (
        found["designs"][name]["metrics"][REVENUE] for name in ("user split", "budget split", ALONE[-1])
    )
    assert naive["interference"] > 3 * naive["interference_se"] > 0
    assert naive["interference"] > 0.05
    assert naive["bias"] > 3 * naive["bias_se"]
    assert abs(parted["interference"]) < 3 * parted["interference_se"]
    assert abs(parted["bias"]) < 3 * parted["bias_se"]
    # A day's budgets are one arm's alone where windows are days.
    assert days["interference"] == 0.0
    assert found["worlds"]["control"]["exhausted_share"] > 0.9
    assert found["worlds"]["control"]["revenue_missed"] == pytest.approx(1 - TIGHT, abs=0.05)


def test_windows_shorter_than_a_day_hand_their_budgets_on() -> None:
    found = compare_designs(bench(TIGHT), [Switchback(6.0, 1.0)], 3)
    assert interference(found, "switchback, 6 h")[REVENUE] != 0.0


def test_a_biased_design_is_explained_and_a_simple_sound_one_is_chosen() -> None:
    biased, free = tight(), compared(np.inf, False)
    user = ASKED[0]
    text = sentence(user, biased["designs"][user.name], biased)
    assert "both arms pay from the same budgets" in text
    assert "run out" in text
    assert choice(ASKED, biased["designs"], REVENUE)["design"] in ("budget split", "switchback, 24 h")
    assert choice(ASKED, free["designs"], REVENUE)["design"] == "user split"
    assert "nothing to each other" in sentence(user, free["designs"][user.name], free)


def test_a_design_is_explained_for_the_metric_that_is_asked_for() -> None:
    found = tight()
    own = explained(found, ASKED, REVENUE)["designs"]["user split"]["sentences"]
    assert own.keys() == found["designs"]["user split"]["metrics"].keys()
    unmoved = {"interference": 0.001, "interference_se": 0.002, "sd": 0.1}
    calm = {**found, "designs": {"user split": {"metrics": {REVENUE: unmoved, "ctr": unmoved}}}}
    text = sentence(ASKED[0], calm["designs"]["user split"], calm, "ctr")
    assert "no effect of the arms on each other is shown; +0.1 points" in text
    assert "click-through rate" in text


def test_a_design_that_cannot_be_drawn_says_why_and_the_others_are_judged() -> None:
    found = compare_designs(bench(), [UserSplit(), Switchback(window_hours=48.0)], 2)
    assert "expected at least 4" in found["designs"]["switchback, 48 h"]["reason"]
    assert found["designs"]["user split"]["metrics"]
    with pytest.raises(SimulatorError, match="at least 2"):
        compare_designs(bench(), [UserSplit()], 1)


def some_evidence(people: Population, seed: int = 0) -> Evidence:
    rng = np.random.default_rng(seed)
    row = np.flatnonzero(people.inside)
    values = rng.random((len(row), 5))
    return Evidence(row, rng.integers(0, len(people.advertiser), len(row)), values)


def test_a_user_split_is_read_as_the_scorecard_reads_it() -> None:
    people = Population.of(plan().prepared)
    evidence, assignment = some_evidence(people), UserSplit().draw(people, "s", 7)
    earlier = np.zeros((len(people.user_ids), 6)), np.zeros((people.advertisers, 6))
    found = read(evidence, assignment, people, earlier, RATIOS, 0.95)
    inside = np.flatnonzero(people.inside)
    user, where = np.unique(people.user[inside], return_inverse=True)
    arm = np.array([assignment.rows[inside[where == u][0]] for u in range(len(user))])
    names = ("impressions", "clicks", "conversions", "revenue", "advv")
    table = {name: np.bincount(where, evidence.values[:, k]) for k, name in enumerate(names)}
    table |= {"requests": np.bincount(where), "arm": np.where(arm, "t", "c").astype(object)}
    for metric in RATIOS:
        e = estimate(table, metric, "c", "t", cuped=False)
        assert found[metric.name].log_lift == pytest.approx(np.log1p(e.lift), rel=1e-9)
        assert found[metric.name].low == pytest.approx(np.log1p(e.ci[0]), rel=1e-9)


def test_two_sides_are_read_as_every_pair_of_user_and_advertiser_says() -> None:
    people = Population.of(plan().prepared)
    evidence, assignment = some_evidence(people), TwoSided().draw(people, "s", 7)
    earlier = np.zeros((len(people.user_ids), 6)), np.zeros((people.advertisers, 6))
    metrics = (BY_NAME[REVENUE], BY_NAME["ctr"])
    found = read(evidence, assignment, people, earlier, metrics, 0.95)
    shape = (len(people.user_ids), people.advertisers)
    pairs = np.zeros((*shape, 5))
    np.add.at(pairs, (people.user[evidence.row], people.advertiser[evidence.ad]), evidence.values)
    asked = np.bincount(people.user[people.inside], minlength=shape[0])
    treated_user = np.bincount(people.user[assignment.rows], minlength=shape[0]) > 0
    treated_advertiser = np.array([assignment.ads[people.advertiser == v].any() for v in range(shape[1])])
    both = treated_user[:, None] & treated_advertiser[None, :]
    exposure = np.broadcast_to(asked[:, None], shape)
    for name, top, below in ((REVENUE, pairs[..., 3], exposure), ("ctr", pairs[..., 1], pairs[..., 0])):
        log = np.log(top[both].sum() / below[both].sum()) - np.log(top[~both].sum() / below[~both].sum())
        assert found[name].log_lift == pytest.approx(log, rel=1e-9)
        influence = np.where(both, top / top[both].sum() - below / below[both].sum(), 0)
        influence = influence - np.where(both, 0, top / top[~both].sum() - below / below[~both].sum())
        variance = sum(
            float(part @ part) * len(part) / (len(part) - 1) for part in (influence.sum(0), influence.sum(1))
        )
        assert found[name].low < log - 1.9 * variance**0.5


def test_budgets_of_the_market_itself_are_left_as_they_are() -> None:
    made, _ = market()
    before = made.budgets.copy()
    compare_designs(bench(TIGHT), [UserSplit(split_budgets=True)], 2)
    np.testing.assert_array_equal(made.budgets, before)
