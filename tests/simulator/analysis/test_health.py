"""Faults in the logs: what each check measures, what it leaves alone, and that faults are told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from simulator.analysis.columns import AnalysisError
from simulator.analysis.health.checks import find_fault
from simulator.analysis.health.logs import logs_of
from simulator.analysis.health.trends import Change, change
from simulator.certificate.faults import DAYS, STRENGTH, fault_rows, lose_slow_logs, simulate


def overdispersed(rng: np.random.Generator, slope: float = 0.0, users: int = 600) -> Change:
    """A trend among users who differ much in how often they come and click."""
    shown = rng.poisson(rng.gamma(0.5, 8.0, (users, 1)), (users, DAYS))
    rate = np.clip(rng.beta(1, 8, (users, 1)) * np.exp(slope * np.arange(DAYS)), 0, 1)
    return change(rng.binomial(shown, rate), shown.astype(float), np.arange(DAYS))


def test_a_trend_is_estimated_and_its_error_is_that_of_repeated_tests() -> None:
    found = [overdispersed(np.random.default_rng((1, i)), 0.05) for i in range(300)]
    sizes = np.array([one.size for one in found])
    assert sizes.mean() == pytest.approx(0.05, abs=0.006)
    assert np.mean([one.se for one in found]) == pytest.approx(sizes.std(), rel=0.15)


def test_p_values_of_no_trend_are_uniform_though_users_differ() -> None:
    p = [overdispersed(np.random.default_rng((2, i))).p_value for i in range(500)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    # Taking requests for independent would reject more often: here it is the users that vary.
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_nothing_to_count_is_no_trend() -> None:
    none = np.zeros((5, DAYS))
    assert change(none, none, np.arange(DAYS)).p_value == 1.0
    assert change(none, none + 1, np.arange(DAYS)).p_value == 1.0


def test_faults_are_found_and_named_and_sound_tests_are_let_be() -> None:
    rows = list(fault_rows(replications=8, users=10_000, seed=3))
    assert len(rows) == 1 + len(STRENGTH)
    assert rows[0].simulated <= 0.05
    for row in rows[1:]:
        assert row.simulated >= 7 / 8, row.name


def test_a_split_that_is_off_for_another_reason_is_not_put_down_to_latency() -> None:
    rng = np.random.default_rng(4)
    control, treatment = simulate(rng, 4_000), simulate(rng, 4_000)
    gone = rng.random(4_000) < 0.15
    columns = {
        name: np.where(gone[:, None], 0.0, getattr(treatment, name))
        for name in ("requests", "impressions", "clicks", "conversions", "predicted")
    }
    found = find_fault(control, replace(treatment, **columns))
    assert found is not None
    assert found.fault == "lost logs"
    assert "look at the assignment" in found.text
    slow = find_fault(simulate(rng, 4_000), lose_slow_logs(rng, simulate(rng, 4_000), slower=2.5))
    assert slow is not None
    assert "slow answers lose their logs" in slow.text


def test_the_fault_is_found_in_whichever_arm_it_is() -> None:
    rng = np.random.default_rng(6)
    control, treatment = simulate(rng, 10_000), simulate(rng, 10_000)
    kept = control.conversions.copy()
    kept[:, 4:] = rng.binomial(kept[:, 4:].astype(np.int64), 0.3)
    found = find_fault(replace(control, conversions=kept), treatment)
    assert found is not None
    assert found.fault == "missing conversions"
    assert "From day 5 on, clicks of arm control have" in found.text


#: Users 5 and 9, days 3 and 4 of the experiment; user 7 was there before it alone.
REQUESTS = {
    "user_id": np.array([9, 5, 7, 5, 9, 5], np.uint64),
    "day": np.array([1, 1, 2, 3, 3, 4]),
    "period": np.array(["pre", "pre", "pre", "experiment", "experiment", "experiment"], object),
    "latency_ms": np.array([4.0, 1.0, 2.0, 90.0, 90.0, 90.0]),
}
SHOWN = {
    "user_id": np.array([9, 5, 5, 5, 9], np.uint64),
    "day": np.array([1, 3, 3, 4, 3]),
    "period": np.array(["pre", "experiment", "experiment", "experiment", "experiment"], object),
    "pctr": np.array([0.9, 0.1, 0.2, 0.3, 0.4]),
    "click": np.array([True, True, False, True, False]),
    "conversion": np.array([True, False, False, True, False]),
}


def test_logs_are_counted_by_user_and_day_of_the_experiment_in_parts_or_whole() -> None:
    found = logs_of(REQUESTS, SHOWN)
    assert found.user_id.tolist() == [5, 7, 9]
    assert found.requests.tolist() == [[1, 1], [0, 0], [1, 0]]
    assert found.impressions.tolist() == [[2, 1], [0, 0], [1, 0]]
    assert found.clicks.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert found.conversions.tolist() == [[0, 1], [0, 0], [0, 0]]
    np.testing.assert_allclose(found.predicted, [[0.3, 0.3], [0, 0], [0.4, 0]])
    assert found.before_ms.tolist() == [1.0, 2.0, 4.0]
    assert found.seen.tolist() == [True, False, True]
    parts = [{name: column[rows] for name, column in SHOWN.items()} for rows in (slice(0, 2), slice(2, 5))]
    for name, column in vars(logs_of(REQUESTS, parts)).items():
        np.testing.assert_array_equal(column, getattr(found, name))
    assert found.of(found.seen).user_id.tolist() == [5, 9]


def test_impressions_without_a_request_are_refused() -> None:
    with pytest.raises(AnalysisError, match="such as 8"):
        logs_of(REQUESTS, {**SHOWN, "user_id": np.array([9, 5, 5, 5, 8], np.uint64)})
    with pytest.raises(AnalysisError, match="No request is the experiment's"):
        logs_of({**REQUESTS, "period": np.full(6, "pre", object)}, SHOWN)


def test_where_people_click_on_much_no_robot_is_called() -> None:
    rng = np.random.default_rng(8)
    shown = np.full((300, DAYS), 40.0)
    eager = replace(
        simulate(rng, 300), impressions=shown, clicks=rng.binomial(40, 0.7, (300, DAYS)).astype(float)
    )
    assert find_fault(eager, eager) is None


def test_a_split_that_is_off_without_a_time_before_is_put_down_to_nothing() -> None:
    rng = np.random.default_rng(9)
    arms = [simulate(rng, users) for users in (4_000, 3_400)]
    unknown = [replace(arm, before_ms=np.full(len(arm.user_id), np.nan)) for arm in arms]
    found = find_fault(*unknown, names=("base", "new"))
    assert found is not None
    assert found.text.startswith("Arm new has ")


def test_more_pairs_take_more_to_be_called_a_fault() -> None:
    calls = dict.fromkeys((1, 100), 0)
    for i in range(60):
        rng = np.random.default_rng((10, i))
        control, treatment = simulate(rng, 3_000), simulate(rng, 3_000)
        weak = replace(treatment, predicted=treatment.predicted * 1.04 ** np.arange(DAYS))
        for pairs in calls:
            calls[pairs] += find_fault(control, weak, pairs=pairs) is not None
    assert calls[100] < calls[1]
