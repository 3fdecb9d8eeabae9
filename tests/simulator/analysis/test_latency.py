from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.inference.bursts import bursty_trace
from simulator.analysis.columns import AnalysisError
from simulator.analysis.latency import clustered_quantile, quantile, quantile_lift
from simulator.analysis.truth import true_quantile_lift
from simulator.assignment import assign

USERS, P = 1_000, 0.99
TRUE_P99 = float(np.exp(stats.norm.ppf(P) * np.sqrt(0.5**2 + 0.3**2)))


def requests(rng: np.random.Generator, factor: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """About 21 requests of each of 1,000 users; user sd 0.5, request sd 0.3 on the log scale."""
    count = rng.poisson(21, USERS)
    user = np.repeat(np.arange(USERS, dtype=np.uint64), count)
    slow = np.repeat(rng.normal(0, 0.5, USERS), count)
    return factor * np.exp(slow + rng.normal(0, 0.3, len(user))), user


def test_intervals_of_p99_cover_where_independent_ones_do_not():
    rng = np.random.default_rng(1)
    covered, independent, lift_covered = [], [], []
    for _ in range(600):
        arms = []
        for factor in (1.0, 1.2):
            values, user = requests(rng, factor)
            arm = clustered_quantile(values, user, P)
            covered.append(arm.ci[0] <= factor * TRUE_P99 <= arm.ci[1])
            arms.append(arm)
            half = 1.96 * np.sqrt(P * (1 - P) / len(values))
            low, high = np.quantile(values, [P - half, P + half])
            independent.append(low <= factor * TRUE_P99 <= high)
        lift = quantile_lift(*arms)
        lift_covered.append(lift.ci[0] <= 0.2 <= lift.ci[1])
    assert 0.93 <= np.mean(covered) <= 0.97
    assert 0.93 <= np.mean(lift_covered) <= 0.98
    assert np.mean(independent) == pytest.approx(0.56, abs=0.06)


@pytest.mark.parametrize("p", [0.5, 0.95])
def test_intervals_of_p50_and_p95_cover(p):
    rng = np.random.default_rng(2)
    true = float(np.exp(stats.norm.ppf(p) * np.sqrt(0.34)))
    covered = []
    for _ in range(800):
        q = clustered_quantile(*requests(rng), p)
        covered.append(q.ci[0] <= true <= q.ci[1])
    assert 0.93 <= np.mean(covered) <= 0.97


def test_values_follow_numpys_default_rule():
    rng = np.random.default_rng(3)
    values, user = requests(rng)
    for p in (0.5, 0.95, 0.99):
        assert clustered_quantile(values, user, p).value == np.quantile(values, p)
    assert quantile(values, 0.5) == np.quantile(values, 0.5)
    assert quantile(np.array([]), 0.5) is None


def test_the_order_of_requests_does_not_matter():
    rng = np.random.default_rng(4)
    values, user = requests(rng)
    shuffle = rng.permutation(len(values))
    one, other = clustered_quantile(values, user, P), clustered_quantile(values[shuffle], user[shuffle], P)
    assert (one.value, one.ci) == (other.value, other.ci)


def test_too_few_users_have_a_value_but_no_interval():
    values, user = np.arange(1.0, 31.0), np.repeat(np.arange(10, dtype=np.uint64), 3)
    few = clustered_quantile(values, user, P)
    assert few.value == pytest.approx(np.quantile(values, P))
    assert few.ci is None
    lift = quantile_lift(few, few)
    assert (lift.lift, lift.ci, lift.mde) == (0.0, None, None)
    assert clustered_quantile(values, np.zeros(30, np.uint64), P).ci is None


def test_no_requests_have_no_quantile():
    assert clustered_quantile(np.array([]), np.array([], np.uint64), P) is None


def test_constant_latency_is_a_point():
    values, user = np.full(3_000, 2.5), np.repeat(np.arange(1_000, dtype=np.uint64), 3)
    still = clustered_quantile(values, user, P)
    assert still.ci == (2.5, 2.5)
    lift = quantile_lift(still, still)
    assert (lift.lift, lift.ci, lift.p_value) == (0.0, (0.0, 0.0), None)


def test_ties_at_the_quantile_do_not_hide_the_spread():
    rng = np.random.default_rng(5)
    values, user = requests(rng)
    tied = np.where(values > np.quantile(values, 0.97), 9.0, values)
    assert clustered_quantile(tied, user, P).se_log is not None
    mixed = np.where(np.arange(len(values)) % 98 == 0, 20.0, 1.0)  # 1.02 %
    q = clustered_quantile(mixed, user, P)
    assert q.ci == (1.0, 20.0)


def test_latencies_that_are_missing_are_refused():
    with pytest.raises(AnalysisError, match="1 NaN"):
        clustered_quantile(np.array([1.0, np.nan]), np.array([1, 2], np.uint64), P)
    with pytest.raises(AnalysisError, match="level"):
        clustered_quantile(np.array([1.0]), np.array([1], np.uint64), P, level=2)


def test_an_a_a_test_errs_as_often_as_it_says_whatever_steps_bursts_make_in_the_tail():
    errors, by_the_density = [], []
    for seed in (2, 5, 12):
        trace = bursty_trace(seed, 1_500, 12_000)
        for i in range(400):
            mine = assign(trace.user_id, f"split/{i}", (0.5, 0.5)) == 1
            lift = quantile_lift(trace.p99(0, ~mine), trace.p99(0, mine))
            errors.append(lift.p_value < 0.05)
            by_the_density.append(abs(np.log1p(lift.lift)) / lift.se_log > stats.t.isf(0.025, lift.df))
    assert 0.033 < np.mean(errors) < 0.067  # 0.05 ± 0.0063
    # The usual way, an estimate over its standard error, is another test: it errs in 0.5 to 5 % by trace.
    by_trace = np.mean(np.reshape(by_the_density, (3, 400)), axis=1)
    assert by_trace.max() - by_trace.min() > 0.03


def test_the_lift_covers_where_the_arms_tails_have_other_shapes():
    rng = np.random.default_rng(9)
    true = float(np.exp(stats.norm.ppf(P) * (np.hypot(0.8, 0.3) - np.hypot(0.2, 0.3)))) - 1
    covered = []
    for _ in range(400):
        arms = []
        for spread in (0.2, 0.8):
            count = rng.poisson(21, USERS)
            user = np.repeat(np.arange(USERS, dtype=np.uint64), count)
            slow = np.repeat(rng.normal(0, spread, USERS), count)
            arms.append(clustered_quantile(np.exp(slow + rng.normal(0, 0.3, len(user))), user, P))
        low, high = quantile_lift(*arms).ci
        covered.append(low <= true <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


@given(
    seed=st.integers(0, 10_000),
    factor=st.floats(0.5, 2.0),
    level=st.floats(0.5, 0.999),
    p=st.sampled_from([0.5, 0.95, 0.99]),
)
@settings(max_examples=60)
def test_interval_and_p_value_agree_and_the_lift_lies_within(seed, factor, level, p):
    rng = np.random.default_rng(seed)
    arms = []
    for slower in (1.0, factor):
        user = np.repeat(np.arange(400, dtype=np.uint64), rng.poisson(5, 400))
        arms.append(clustered_quantile(slower * rng.lognormal(0, 1, len(user)), user, p))
    lift = quantile_lift(*arms, level)
    low, high = lift.ci
    assert low <= lift.lift <= high
    if abs(lift.p_value - (1 - level)) > 1e-6:
        assert (lift.p_value < 1 - level) == (low > 0 or high < 0)
    wider = quantile_lift(*arms, (1 + level) / 2).ci
    assert wider[0] <= low
    assert high <= wider[1]


def test_a_unit_of_time_changes_no_lift():
    rng = np.random.default_rng(10)
    (a, user), (b, other) = requests(rng), requests(rng, 1.1)
    plain = quantile_lift(clustered_quantile(a, user, P), clustered_quantile(b, other, P))
    scaled = quantile_lift(clustered_quantile(1e3 * a, user, P), clustered_quantile(1e3 * b, other, P))
    assert scaled.ci == pytest.approx(plain.ci)
    assert scaled.p_value == pytest.approx(plain.p_value)


def test_a_lift_beyond_the_data_has_the_smallest_p_value_that_they_can_tell():
    rng = np.random.default_rng(11)
    (a, user), (b, other) = requests(rng), requests(rng, 1e6)
    far = quantile_lift(clustered_quantile(a, user, P), clustered_quantile(b, other, P))
    assert 0 < far.p_value < 1e-6
    assert far.ci[0] > 1e5


def test_the_true_p99_lift_is_paired_and_its_error_honest():
    rng = np.random.default_rng(6)
    lifts, errors = [], []
    for _ in range(300):
        values, user = requests(rng)
        other = values * 1.1 * np.exp(rng.normal(0, 0.05, len(values)))
        arms = [clustered_quantile(v, user, P) for v in (values, other)]
        true = true_quantile_lift(*arms)
        lifts.append(true.lift)
        errors.append(true.se)
    # The pair shares its users, so the error is far below that of two samples.
    assert np.mean(errors) < 0.5 * 1.1 * quantile_lift(*arms).se_log
    assert np.mean(errors) == pytest.approx(np.std(lifts), rel=0.35)


def test_identical_planes_have_a_true_p99_lift_of_exactly_zero():
    q = clustered_quantile(*requests(np.random.default_rng(7)), P)
    assert (true_quantile_lift(q, q).lift, true_quantile_lift(q, q).se) == (0.0, 0.0)


def test_a_true_lift_needs_the_same_users():
    rng = np.random.default_rng(8)
    values, user = requests(rng)
    with pytest.raises(AnalysisError, match="the same"):
        true_quantile_lift(
            clustered_quantile(values, user, P), clustered_quantile(values, user + np.uint64(1), P)
        )
