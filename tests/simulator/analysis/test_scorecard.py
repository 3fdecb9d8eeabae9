from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from simulated_users import ab_tables

from simulator.analysis.columns import AnalysisError
from simulator.analysis.guardrails import Guardrails
from simulator.analysis.scorecard import Question, build_scorecard
from simulator.analysis.srm import check_split
from simulator.analysis.truth import added_by_user, by_user, true_lift
from simulator.analysis.verdict import Case, verdict, verdicts
from simulator.metrics import BY_NAME, COMPARED
from simulator.results.report import render
from simulator.results.scorecard import tile_metrics

HALF = {"old": 0.5, "new": 0.5}


def question(**changes) -> Question:
    return Question(
        **({"run": "r", "seed": 7, "service_times": "profile", "split": HALF, "control": "old"} | changes)
    )


def test_two_arms_are_also_shown_by_role_at_the_top():
    card = build_scorecard(question(extra={"budget_ms": 4.0}), *ab_tables(lift=0.2))
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert card["schema_version"] == 2
    assert card["units"] == {"control": 600, "treatment": 600}
    assert card["names"] == {"control": "old", "treatment": "new"}
    assert card["srm"]["p_value"] == 1.0
    assert card["budget_ms"] == 4.0
    assert card["level"] == 0.95
    assert list(card["metrics"]) == ["advv_per_request", "revenue_per_request", "ctr", "cvr", "p99_ms"]
    fields = {"control", "treatment", "unit", "role", "lift", "ci", "level", "method", "p_value"}
    fields |= {"true_lift", "true_se", "mde", "n", "se_log", "variance_reduction"}
    for entry in card["metrics"].values():
        assert fields <= set(entry)
    assert card["metrics"]["ctr"]["true_lift"] == pytest.approx(0.2)
    assert card["metrics"]["cvr"]["true_lift"] == pytest.approx(0.0)
    assert card["metrics"]["p99_ms"]["true_lift"] == pytest.approx(0.5)
    low, high = card["metrics"]["p99_ms"]["ci"]
    assert low < 0.5 < high
    old, new = card["arms"]["old"], card["arms"]["new"]
    assert (new["role"], new["units"]) == ("treatment", 600)
    assert new["metrics"] == card["metrics"]
    assert new["verdict"] == card["verdict"]
    assert {"control": old["latency"], "treatment": new["latency"]} == card["latency"]
    assert old["requests"] + new["requests"] == card["metrics"]["ctr"]["n"]
    assert new["values"]["ctr"]["value"] == pytest.approx(card["metrics"]["ctr"]["treatment"], rel=0.05)
    block = card["latency"]["treatment"]
    assert block["p50_ms"] < block["p95_ms"] < block["p99_ms"]
    assert block["missed_share"] + block["full_history_share"] == pytest.approx(1.0)


def test_treatments_are_paired_in_truth_by_the_users_of_both_worlds():
    split = dict.fromkeys("abc", 1 / 3)
    users, served, truth = ab_tables(arms=tuple("abc"), lift=0.2)
    card = build_scorecard(question(split=split, control="b"), users, served, truth)
    worlds = {arm: by_user({k: v[truth["arm"] == arm] for k, v in truth.items()}) for arm in "abc"}
    metric = BY_NAME["advv_per_request"]
    true = true_lift(worlds["c"], worlds["a"], metric)
    (pair,) = card["pairs"]
    assert (pair["treatment"], pair["against"], pair["metric"]) == ("a", "c", metric.name)
    assert (pair["true_lift"], pair["true_se"]) == (true.lift, true.se)
    assert "pairs" not in build_scorecard(question(), *ab_tables())
    # The users' parts of the two lifts over control, one less the other, have the same error.
    added = [added_by_user(worlds["b"], worlds[arm], metric) for arm in "ac"]
    difference = added[0] - added[1]
    error = np.sqrt(difference @ difference * len(difference) / (len(difference) - 1))
    assert (1 + true.lift) * error == pytest.approx(true.se)


def test_tables_from_a_file_give_the_same_card():
    users, served, truth = ab_tables()
    from_file = build_scorecard(question(), *(pa.table(t) for t in (users, served, truth)))
    assert from_file == build_scorecard(question(), users, served, truth)


def test_more_arms_get_an_entry_each():
    arms = ("a", "b", "c")
    split = dict.fromkeys(arms, 1 / 3)
    card = build_scorecard(question(split=split, control="b"), *ab_tables(arms=arms))
    assert list(card["arms"]) == list(arms)
    assert card["arms"]["b"]["role"] == "control"
    assert (card["arms"]["b"]["metrics"], card["arms"]["b"]["verdict"]) == ({}, None)
    shape = set(card["arms"]["b"])
    two = build_scorecard(question(), *ab_tables())
    assert {frozenset(arm) for arm in (*card["arms"].values(), *two["arms"].values())} == {frozenset(shape)}
    assert card["arms"]["c"]["metrics"]["ctr"]["ci"] is not None
    assert {name: arm["units"] for name, arm in card["arms"].items()} == {"a": 400, "b": 400, "c": 400}
    assert not {"metrics", "latency", "units", "names"} & set(card)
    assert "a: " in card["verdict"]["text"]


def test_without_the_counterfactual_worlds_the_truth_is_null():
    users, served, _ = ab_tables()
    card = build_scorecard(question(), users, served, None)
    assert card["metrics"]["ctr"]["true_lift"] is None
    assert "not known" in card["verdict"]["text"]


def test_with_split_capacity_no_true_p99_exists():
    users, served, truth = ab_tables()
    keep = served["assigned"] & (served["user_id"] > 0)
    card = build_scorecard(question(), users, {k: v[keep] for k, v in served.items()}, truth)
    assert card["metrics"]["p99_ms"]["true_lift"] is None
    assert card["metrics"]["p99_ms"]["lift"] is not None


def test_identical_arms_have_true_lifts_of_exactly_zero():
    users, served, truth = ab_tables(lift=0.0)
    served["latency_ms"] = np.tile(served["latency_ms"][: len(served["arm"]) // 2], 2)
    card = build_scorecard(question(), users, served, truth)
    for entry in card["metrics"].values():
        assert (entry["true_lift"], entry["true_se"]) == (0.0, 0.0)


def test_an_arm_without_traffic_is_invalid_and_never_zero():
    users, served, truth = ab_tables()
    alone = users["arm"] == "old"
    served["assigned"] &= served["arm"] == "old"
    card = build_scorecard(question(), {k: v[alone] for k, v in users.items()}, served, truth)
    assert card["units"]["treatment"] == 0
    assert card["srm"]["p_value"] is None
    assert card["verdict"]["decision"] == "invalid"
    assert card["metrics"]["ctr"]["treatment"] is None
    assert card["metrics"]["p99_ms"]["lift"] is None
    assert card["latency"]["treatment"]["p99_ms"] is None
    assert card["latency"]["treatment"]["missed_share"] is None


def test_a_question_without_two_arms_or_a_known_metric_is_refused():
    with pytest.raises(AnalysisError, match="at least two"):
        question(split={"old": 1.0})
    with pytest.raises(AnalysisError, match="primary"):
        question(primary="likes")


@pytest.mark.parametrize("primary", [metric.name for metric in COMPARED])
def test_every_metric_with_a_lift_can_be_the_primary_one(primary):
    card = build_scorecard(question(primary=primary), *ab_tables(lift=0.3))
    roles = {name: entry["role"] for name, entry in card["metrics"].items()}
    assert [name for name, role in roles.items() if role == "primary"] == [primary]
    assert {"secondary", "guardrail", "primary"} >= set(roles.values())
    assert BY_NAME[primary].words in card["verdict"]["text"]
    assert f"{BY_NAME[primary].label} (primary)" in render(card, "text")
    assert tile_metrics(card)[0].name == primary


def test_a_slower_treatment_is_stopped_where_latency_is_the_primary_metric():
    verdict = build_scorecard(question(primary="p99_ms"), *ab_tables())["verdict"]
    assert verdict["decision"] == "stop"
    assert "treatment worsens P99 latency" in verdict["text"]


OK = check_split({"a": 500, "b": 500}, {"a": 0.5, "b": 0.5})


def entry(low: float, high: float, true: float | None = 0.02) -> dict:
    return {
        "lift": (low + high) / 2,
        "ci": [low, high],
        "level": 0.95,
        "true_lift": true,
        "true_se": 0.003,
        "mde": 0.08,
    }


@pytest.mark.parametrize(
    ("primary", "metrics", "decision"),
    [
        ("advv_per_request", {"advv_per_request": entry(0.01, 0.05)}, "ship"),
        ("advv_per_request", {"advv_per_request": entry(-0.01, 0.05)}, "inconclusive"),
        ("advv_per_request", {"advv_per_request": entry(-0.05, -0.01)}, "stop"),
        ("advv_per_request", {"advv_per_request": entry(0.01, 0.05), "ctr": entry(-0.04, -0.01)}, "stop"),
        ("p99_ms", {"p99_ms": entry(-0.05, -0.01)}, "ship"),
        ("p99_ms", {"p99_ms": entry(0.01, 0.05)}, "stop"),
    ],
)
def test_decisions_follow_the_interval(primary, metrics, decision):
    assert verdict(metrics, primary, OK)["decision"] == decision


def test_an_inconclusive_test_says_so_beside_the_truth_and_its_power():
    text = verdict({"ctr": entry(-0.01, 0.06, 0.038)}, "ctr", OK)["text"]
    assert "The A/B test cannot say" in text
    assert "−1.0% to +6.0%" in text
    assert "The truth for the click-through rate, which only a simulation knows, is +3.8%" in text
    assert "detects a lift of 8.0% with 80% power" in text


def test_an_interval_that_misses_the_truth_admits_it():
    assert "leaves it out" in verdict({"ctr": entry(0.01, 0.02, 0.1)}, "ctr", OK)["text"]


def test_a_broken_split_overrules_every_interval():
    broken = check_split({"a": 1_000, "b": 1_200}, {"a": 0.5, "b": 0.5})
    found = verdict({"ctr": entry(0.01, 0.05)}, "ctr", broken)
    assert found["decision"] == "invalid"
    assert "Do not trust" in found["text"]
    assert [rule["holds"] for rule in found["rules"]] == [False, True, True]


def counted(control: int, treatment: int, p_value: float, **more) -> dict:
    events = {"control": control, "treatment": treatment, "p_value": p_value, "fewer": treatment < control}
    return {**entry(-0.9, -0.5), "events": events, **more}


def test_an_arm_that_lost_its_events_is_stopped_though_its_ratio_is_undefined():
    lost = counted(400, 0, 1e-9, ci=None, lift=None)
    found = verdict({"advv_per_request": lost}, "advv_per_request", OK)
    assert found["decision"] == "stop"
    assert "0 users of treatment and 400 of control have any" in found["text"]
    few = counted(3, 0, 0.25, ci=None, lift=None)
    assert verdict({"advv_per_request": few}, "advv_per_request", OK)["decision"] == "inconclusive"
    gained = counted(0, 400, 1e-9, ci=None, lift=None)
    assert verdict({"advv_per_request": gained}, "advv_per_request", OK)["decision"] == "inconclusive"


def test_few_events_decide_nothing_however_many_the_users():
    found = verdict({"advv_per_request": counted(1, 1, 1.0)}, "advv_per_request", OK, users=5_000)
    assert found["decision"] == "inconclusive"
    assert "1 and 1 users of control and treatment have an event" in found["text"]


BETTER = {"advv_per_request": entry(0.01, 0.05)}


@pytest.mark.parametrize(
    ("ci", "margin", "decision"),
    [
        ((-0.04, -0.01), 0.0, "stop"),
        ((-0.04, 0.02), 0.0, "ship"),
        ((-0.04, 0.02), 0.01, "inconclusive"),  # may be worse by more
        ((-0.008, -0.001), 0.01, "ship"),  # worse, but shown to be within the margin
        ((-0.04, -0.02), 0.01, "stop"),
        ((-0.04, -0.02), None, "ship"),
    ],
)
def test_a_margin_of_ones_own_must_be_shown_to_be_kept(ci, margin, decision):
    guards = Guardrails(margins={"ctr": margin})
    found = verdict({**BETTER, "ctr": entry(*ci)}, "advv_per_request", OK, guardrails=guards)
    assert found["decision"] == decision
    if margin is not None:
        state = {"ship": True, "stop": False, "inconclusive": None}[decision]
        assert [guard["holds"] for guard in found["guardrails"]] == [state]


def limited(control, treatment, name="p99_ms", limit=20.0, metrics=None):
    values = {
        side: {"value": v[0], "ci": v[1:]} for side, v in (("control", control), ("treatment", treatment))
    }
    case = Case(
        {**BETTER, **(metrics or {})}, values={{"late_share": "missed_share"}.get(name, name): values}
    )
    return verdicts({"t": case}, "advv_per_request", OK, Guardrails(limits={name: limit}))["t"]


@pytest.mark.parametrize(
    ("control", "treatment", "decision"),
    [
        ((5, 4, 6), (19, 17, 21), "ship"),
        ((5, 4, 6), (21, 19, 23), "inconclusive"),  # above, but not shown to be
        ((5, 4, 6), (48, 45, 52), "stop"),
        ((47, 44, 51), (48, 45, 52), "inconclusive"),  # control breaks it too: not treatment's doing
        ((30, 28, 32), (48, 45, 52), "stop"),
    ],
)
def test_latency_is_limited_in_absolute_terms(control, treatment, decision):
    assert limited(control, treatment)["decision"] == decision


def test_late_requests_are_limited_by_a_share():
    found = limited((0.001, 0.0, 0.002), (0.05, 0.04, 0.06), "late_share", 0.01)
    assert found["decision"] == "stop"
    assert "Missed deadline is 5.0%, the limit 1.0%" in found["text"]


def test_a_broken_guardrail_leaves_it_said_what_telling_the_primary_metric_would_take():
    needed = {"lift": 0.017, "requests": 7_403_399, "users": 2_051_369, "days": 4_051}
    untold = {"advv_per_request": {**entry(-0.1, 0.1), "needed": needed}}
    found = limited((5, 4, 6), (48, 45, 52), metrics=untold)
    assert found["decision"] == "stop"
    assert found["text"].endswith(
        "The A/B test cannot say whether treatment changes advertiser value per request. To tell a lift of "
        "+1.7% with 80% power takes about 7,400,000 requests of 2,100,000 users, 4,100 days at this traffic."
    )
    better = limited((5, 4, 6), (48, 45, 52))
    assert "cannot say" not in better["text"]


def test_where_no_such_log_or_world_can_tell_a_lift_the_verdict_says_it():
    needed = {"lift": 0.001, "requests": 4_906_118_302, "users": 27_634_579, "days": 914_000}
    takes = "takes about 4.9 billion requests of 28,000,000 users, 910,000 days at this traffic"
    for n, then in ((4_000, ": with 4,000 requests this log or world cannot tell it."), (5_000_000, ".")):
        untold = {"advv_per_request": {**entry(-0.1, 0.1), "needed": needed, "n": n}}
        assert verdict(untold, "advv_per_request", OK)["text"].endswith(takes + then)


def test_without_a_budget_a_p99_that_more_than_doubled_stops():
    slower = {**BETTER, "p99_ms": entry(8.5, 9.5)}
    assert verdict(slower, "advv_per_request", OK)["decision"] == "stop"
    assert verdict({**BETTER, "p99_ms": entry(0.3, 0.9)}, "advv_per_request", OK)["decision"] == "ship"
    within = verdict(slower, "advv_per_request", OK, guardrails=Guardrails(limits={"p99_ms": 50.0}))
    assert within["decision"] == "ship"


def test_an_arm_that_hardly_used_its_model_gets_no_verdict():
    found = verdicts({"t": Case(BETTER, own={"c": 1.0, "t": 0.03})}, "advv_per_request", OK)["t"]
    assert found["decision"] == "invalid"
    assert "t 3.0% were answered by the arm's own model" in found["text"]


def test_many_guardrails_and_treatments_share_one_error():
    worse = entry(-0.04, -0.0005)  # p of 2.2 % one-sided: alone it would stop
    assert verdict({**BETTER, "ctr": worse}, "advv_per_request", OK)["decision"] == "ship"
    alone = verdict({"ctr": worse}, "ctr", OK)
    assert alone["decision"] == "stop"
    cases = {name: Case({"ctr": worse if name == "a" else entry(-0.02, 0.02)}) for name in "abc"}
    assert {v["decision"] for v in verdicts(cases, "ctr", OK).values()} == {"inconclusive"}


def test_an_inconclusive_test_says_what_a_conclusive_one_would_take():
    users, served, truth = ab_tables(lift=0.02)
    card = build_scorecard(question(days=3), users, served, truth)
    needed = card["metrics"]["advv_per_request"]["needed"]
    se = card["metrics"]["advv_per_request"]["se_log"]
    assert needed["users"] == pytest.approx(1_200 * (2.8016 * se / np.log(1.02)) ** 2, rel=0.01)
    assert needed["days"] == pytest.approx(3 * needed["users"] / 1_200, rel=0.02)
    assert "To tell a lift of +2.0% with 80% power takes about" in card["verdict"]["text"]


def test_several_treatments_have_intervals_that_hold_together():
    card = build_scorecard(
        question(split=dict.fromkeys("abc", 1 / 3), control="b"), *ab_tables(arms=tuple("abc"))
    )
    for name in "ac":
        for metric in ("ctr", "p99_ms"):
            e = card["arms"][name]["metrics"][metric]
            assert e["ci_together"][0] < e["ci"][0] < e["ci"][1] < e["ci_together"][1]


def test_rules_name_metrics_as_tables_do_and_texts_name_the_arms_given() -> None:
    case = Case({"ctr": entry(-0.05, -0.01)}, names=("old", "new"))
    found = verdicts({"new": case}, "ctr", OK)["new"]
    assert "CTR is not shown to be worse" in {rule["rule"] for rule in found["rules"]}
    assert found["text"].startswith("The A/B shows that new worsens the click-through rate.")


def test_a_sequential_experiment_has_wider_intervals_and_no_p_values() -> None:
    tables = ab_tables(lift=0.2)
    one, always = (build_scorecard(question(sequential=n), *tables)["metrics"]["ctr"] for n in (None, 1_200))
    assert always["p_value"] is None
    assert always["method"].startswith("always valid")
    width = (always["ci"][1] - always["ci"][0]) / (one["ci"][1] - one["ci"][0])
    assert 1.4 < width < 1.7  # 1.55 at the planned number of units
    split = dict.fromkeys("abc", 1 / 3)
    many = build_scorecard(
        question(split=split, control="b", sequential=1_200), *ab_tables(arms=tuple("abc"))
    )
    entry = many["arms"]["a"]["metrics"]["ctr"]
    assert entry["ci_together"][0] < entry["ci"][0] < entry["ci"][1] < entry["ci_together"][1]
