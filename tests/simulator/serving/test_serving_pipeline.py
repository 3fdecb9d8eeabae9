"""What the pipeline promises of every run: conservation, order, deadlines, ties, determinism."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from serving_doubles import (
    DrawnTimes,
    daily_arrivals,
    history_lengths,
    long_arm,
    plain_arm,
    short_arm,
    synthetic_profile,
)

from simulator.config.settings import Policy
from simulator.serving.arm import POLICIES, ServingArm
from simulator.serving.capacity import budget_grid, capacity_rps, unloaded_p95_s
from simulator.serving.pipeline import Served, serve
from simulator.serving.predictions import ProfilePredictions
from simulator.serving.served import exact_gaps
from simulator.serving.service_times import LiveServiceTimes, ProfileServiceTimes

PROFILE = synthetic_profile()


def _times(arm: ServingArm, count: int) -> ProfileServiceTimes:
    return ProfileServiceTimes(PROFILE, arm, 8, 7, np.arange(count, dtype=np.uint64))


def _most_at_once(start_s: NDArray[np.float64], end_s: NDArray[np.float64]) -> int:
    """Intervals open at a time; one that ends as another starts makes room for it."""
    some = ~np.isnan(start_s)
    start, end = start_s[some], end_s[some]
    times = np.concatenate([end, start])
    change = np.concatenate([-np.ones(len(end), dtype=np.int64), np.ones(len(start), dtype=np.int64)])
    order = np.lexsort((change, times))
    return int(np.cumsum(change[order]).max(initial=0))


def _check(served: Served, arm: ServingArm, available: NDArray[np.int64]) -> None:
    prior = len(arm.steps) - 1
    limits = np.array([s.history for s in arm.steps])
    assert np.isfinite(served.completion_s).all()  # every arrival completes, once
    assert ((served.step >= 0) & (served.step <= prior)).all()
    assert (served.completion_s >= served.arrival_s).all()
    assert np.array_equal(served.missed, served.completion_s > served.deadline_s)
    scored = served.step < prior
    assert np.array_equal(scored, ~np.isnan(served.score_end_s))
    assert np.array_equal(
        served.history_used, np.where(scored, np.minimum(limits[served.step], available), 0)
    )
    stages = [served.arrival_s, served.store_start_s, served.store_end_s, served.transport_start_s]
    stages += [served.transport_end_s, served.score_start_s, served.score_end_s, served.completion_s]
    for before, after in pairwise(stages):
        assert (before[scored] <= after[scored]).all()
    read = ~np.isnan(served.store_start_s)
    assert (served.completion_s[read] >= served.transport_end_s[read]).all()
    assert _most_at_once(served.store_start_s, served.transport_end_s) <= arm.store_workers
    _check_batches(served, arm, scored)
    _check_little(served)


def _check_batches(served: Served, arm: ServingArm, scored: NDArray[np.bool_]) -> None:
    key = np.stack([served.score_start_s, served.score_end_s, served.step.astype(float)], axis=1)[scored]
    batches, counts = np.unique(key, axis=0, return_counts=True)
    # Two batches may share all three by chance of ties, so compare sums, not sizes.
    assert np.isclose((1.0 / served.batch[scored]).sum(), round((1.0 / served.batch[scored]).sum()))
    assert served.batch.max(initial=0) <= arm.max_batch
    if len(np.unique(served.arrival_s)) == len(served):
        assert _most_at_once(batches[:, 0], batches[:, 1]) <= arm.scorers
        assert counts.max(initial=0) <= arm.max_batch * arm.scorers


def _check_little(served: Served) -> None:
    """Mean number in flight, integrated over time, equals rate times mean latency."""
    if len(served) == 0 or served.completion_s.max() == 0.0:
        return
    moments = np.concatenate([served.arrival_s, served.completion_s])
    change = np.repeat([1, -1], len(served))
    order = np.argsort(moments, kind="stable")
    in_flight = np.cumsum(change[order])
    assert in_flight[-1] == 0
    span = served.completion_s.max()
    area = (in_flight[:-1] * np.diff(moments[order])).sum() / span
    assert area == pytest.approx(len(served) / span * served.latency_s.mean(), rel=1e-9, abs=1e-9)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**20),
    count=st.integers(0, 120),
    rate=st.floats(100.0, 20_000.0),
    ties=st.booleans(),
    long=st.booleans(),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9)),
    max_wait_s=st.sampled_from([0.0, 0.0004]),
    policy=st.sampled_from(POLICIES),
    budget_s=st.one_of(st.none(), st.floats(1e-4, 2e-2)),
)
def test_every_request_is_served_once_in_stage_order_by_servers_that_exist(
    seed: int,
    count: int,
    rate: float,
    ties: bool,
    long: bool,
    sizes: tuple[int, int, int],
    max_wait_s: float,
    policy: Policy,
    budget_s: float | None,
) -> None:
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1.0 / rate, count))
    if ties:
        arrivals = np.round(arrivals, 3)
    available = rng.integers(0, 1001, count)
    workers, scorers, batch = sizes
    arm = (long_arm if long else short_arm)(store_workers=workers, scorers=scorers, max_batch=batch)
    arm = replace(arm, max_wait_s=max_wait_s, policy=policy)
    served = serve(arrivals, available, arm, _times(arm, count), budget_s)
    _check(served, arm, available)
    assert served.equals(serve(arrivals, available, arm, _times(arm, count), budget_s))


@settings(max_examples=60)
@given(seed=st.integers(0, 2**20), rate=st.floats(100.0, 20_000.0), ties=st.booleans())
def test_no_request_is_served_before_it_arrives(seed: int, rate: float, ties: bool) -> None:
    """Not by a rounding: delays are added one by one, and some sums of two floats cannot be had."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate, 200))
    arrivals = np.round(arrivals, 3) if ties else arrivals
    now, moments = 0.0, []
    for gap in exact_gaps(arrivals).tolist():
        now += gap
        moments.append(now)
    assert (np.array(moments) >= arrivals).all()
    assert np.allclose(moments, arrivals, rtol=1e-14, atol=0.0)


def test_identical_arms_serve_identically() -> None:
    arrivals, available = daily_arrivals(900.0, 4000, 1), history_lengths(4000)
    arm = long_arm()
    twin = replace(arm, name="twin")
    one, other = (serve(arrivals, available, a, _times(a, 4000), 0.004) for a in (arm, twin))
    assert one.equals(other)
    assert len(set(one.step.tolist())) > 2


def test_without_a_budget_everyone_gets_the_first_step_however_late() -> None:
    arrivals, available = daily_arrivals(5000.0, 2000, 1), history_lengths(2000)
    served = serve(arrivals, available, long_arm(), _times(long_arm(), 2000), None)
    assert served.full_history.all()
    assert served.latency_s.max() > 1.0  # an overload, never capped


def test_latency_without_queues_is_the_sum_of_the_stages() -> None:
    arrivals, available = np.arange(200) * 1.0, history_lengths(200)
    arm = long_arm()
    times = _times(arm, 200)
    served = serve(arrivals, available, arm, times, None)
    for r, h in enumerate(np.minimum(available, 1000).tolist()):
        work_s = times.store_s(r, h) + times.transport_s(r, h) + times.score_s([r], "heavy", [h])
        assert served.latency_s[r] == pytest.approx(work_s, abs=1e-9)


# Deadlines


def test_late_work_is_missed_keeps_its_server_and_its_latency() -> None:
    times = DrawnTimes([0.0, 0.0, 0.0], [10.0, 1.0, 1.0], predicted_score_s=1.0)
    served = serve([0.0, 1.0, 9.5], [1, 1, 1], plain_arm(), times, 5.0)
    assert served.missed.tolist() == [True, False, False]
    assert served.step.tolist() == [0, 1, 0]  # missed: decided for full, the prior order is shown
    assert served.latency_s[0] == 10.0
    assert served.completion_s[1] == 5.0  # gave up when 1 s of scoring no longer fitted before 6
    assert served.score_start_s[2] == 10.0  # the late work held the scorer until then


def test_completion_at_the_deadline_is_in_time() -> None:
    served = serve([0.0], [1], plain_arm(), DrawnTimes([2.0], [3.0]), 5.0)
    assert served.completion_s[0] == served.deadline_s[0] == 5.0
    assert not served.missed[0]


def test_budget_too_small_for_any_step_answers_with_the_prior_order_at_once() -> None:
    served = serve([0.0, 1.0], [1, 1], plain_arm(), DrawnTimes([2.0, 2.0], [3.0, 3.0]), 4.9)
    assert served.step.tolist() == [1, 1]
    assert served.latency_s.tolist() == [0.0, 0.0]
    assert np.isnan(served.store_start_s).all()
    assert not served.missed.any()


def test_slow_read_is_caught_when_the_batch_forms() -> None:
    times = DrawnTimes([4.0], [2.0], predicted_store_s=1.0)
    served = serve([0.0], [1], plain_arm(), times, 5.0)
    assert served.step[0] == 1
    assert served.completion_s[0] == served.transport_end_s[0] == 4.0
    assert not served.missed[0]


def test_scorer_backlog_degrades_instead_of_timing_out() -> None:
    arm = replace(long_arm(), policy="ladder")
    n = 3000
    available = np.full(n, 1000)
    capacity = capacity_rps(arm, PROFILE, 8, available)
    arrivals = np.arange(n) / (3.0 * capacity)
    budget_s = 3.0 * unloaded_p95_s(arm, PROFILE, 8, available)
    served = serve(arrivals, available, arm, _times(arm, n), budget_s)
    assert served.missed.mean() < 0.01
    assert (served.step == 3).mean() > 0.3  # the light step carries the overload
    assert served.latency_s.max() < 1.5 * budget_s


# Ties and batches


def test_equal_arrivals_are_served_in_request_order() -> None:
    served = serve([1.0] * 6, [1] * 6, plain_arm(store_workers=2), DrawnTimes([1.0] * 6), None)
    assert served.store_start_s.tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]


def test_of_moments_at_one_time_the_lower_request_goes_first() -> None:
    # Row 0's turn ends as rows 1 and 2 arrive: 1 finds it ended, 2 waits.
    served = serve([0.0, 1.0, 1.0], [1] * 3, plain_arm(), DrawnTimes([1.0] * 3), None)
    assert served.store_start_s.tolist() == [0.0, 1.0, 2.0]


def test_free_scorer_never_waits_and_takes_what_queues_up_to_the_limit() -> None:
    times = DrawnTimes([0.0] * 6, [1.0] * 6)
    served = serve([0.0, 0.1, 0.2, 0.3, 0.4, 5.0], [1] * 6, plain_arm(max_batch=3), times, None)
    assert served.batch.tolist() == [1, 3, 3, 3, 1, 1]
    assert served.score_start_s.tolist() == [0.0, 1.0, 1.0, 1.0, 2.0, 5.0]


def test_scorer_told_to_wait_does_so_until_the_batch_is_full_or_time_is_up() -> None:
    times = DrawnTimes([0.0] * 4, [1.0] * 4)
    arm = plain_arm(max_batch=2, max_wait_s=0.5)
    served = serve([0.0, 0.25, 4.0, 10.0], [1] * 4, arm, times, None)
    assert served.score_start_s.tolist() == [0.25, 0.25, 4.5, 10.5]


@pytest.mark.parametrize(
    ("arrivals", "available", "budget_s"),
    [
        ([1.0, 0.5], [1, 1], None),
        ([-1.0, 0.5], [1, 1], None),
        ([0.0, float("nan")], [1, 1], None),
        ([0.0, 1.0], [1], None),
        ([0.0], [-1], None),
        ([0.0], [0.5], None),
        ([0.0], [1], 0.0),
        ([0.0], [1], float("nan")),
    ],
)
def test_malformed_traces_are_refused(arrivals: Any, available: Any, budget_s: float | None) -> None:
    with pytest.raises(ValueError, match="expected"):
        serve(arrivals, available, plain_arm(), DrawnTimes([0.0, 0.0]), budget_s)


# Budgets


@pytest.mark.parametrize("load", [0.6, 0.9])
@pytest.mark.parametrize("make", [short_arm, long_arm])
def test_tighter_budget_never_raises_full_history_and_misses_stay_rare(make: Any, load: float) -> None:
    arm, n = replace(make(), policy="ladder"), 8000
    available = history_lengths(n)
    p95_s = unloaded_p95_s(arm, PROFILE, 8, available)
    arrivals = daily_arrivals(load * capacity_rps(arm, PROFILE, 8, available), n, seed=1)
    full, missed = [], []
    budgets = budget_grid(p95_s)
    for budget_s in budgets:
        served = serve(arrivals, available, arm, _times(arm, n), float(budget_s))
        full.append(served.full_history.mean())
        missed.append(served.missed.mean())
    assert (np.maximum.accumulate(full) - full).max() <= 0.005
    assert full[0] < 0.01
    assert full[-1] > full[0] + 0.5
    assert max(np.array(missed)[budgets > p95_s]) < 0.01


# Live


@dataclass(frozen=True)
class _Read:
    call_s: float
    own_s: float


def _live(scored: list[int]) -> LiveServiceTimes:
    table = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float32)

    def read(request: int, history: int) -> tuple[Any, _Read]:
        start_s = time.perf_counter()
        rows = table[:history].copy()
        call_s = time.perf_counter() - start_s
        return (request, rows), _Read(call_s, 0.75 * call_s)

    def score(requests: Any, model: str, histories: Any, payloads: Any) -> NDArray[np.float32]:
        scored.extend(requests)
        assert [p[0] for p in payloads] == list(requests)
        rows = [(p[1][-h:] @ p[1][-8:].T).sum(axis=0) for p, h in zip(payloads, histories, strict=True)]
        return np.stack(rows).astype(np.float32)

    return LiveServiceTimes(
        read, lambda p: (p[0], p[1].copy()), score, ProfilePredictions(PROFILE, long_arm(), 8)
    )


@pytest.mark.parametrize("budget_s", [0.05, 600.0])
def test_live_calls_take_real_time_and_their_scores_are_kept(budget_s: float) -> None:
    scored: list[int] = []
    times = _live(scored)
    available = np.maximum(history_lengths(300), 8)
    served = serve(daily_arrivals(100.0, 300, 2), available, long_arm(), times, budget_s)
    _check(served, long_arm(), available)
    answered = np.flatnonzero(~np.isnan(served.score_end_s))
    assert sorted(scored) == answered.tolist()  # once each
    assert sorted(times.scores) == answered.tolist()
    # A busy machine may answer few within the shorter budget.
    assert len(answered) > (0 if budget_s < 1.0 else 299)
    for r in answered.tolist():
        model, history, scores = times.scores[r]
        assert model == (long_arm().steps[served.step[r]].model)
        assert history == served.history_used[r]
        assert scores.shape == (8,)
    assert (served.store_end_s - served.store_start_s)[answered].min() > 0.0
    assert (served.score_end_s - served.score_start_s)[answered].min() > 0.0
    assert times.binding_share == pytest.approx(0.25)
    charged = np.nansum(served.store_end_s - served.store_start_s)
    assert charged == pytest.approx(times.store_own_s, rel=1e-6)


def test_store_that_reports_more_work_than_its_call_is_refused() -> None:
    times = LiveServiceTimes(
        lambda r, h: (None, _Read(1.0, 2.0)), lambda p: p, lambda *a: np.zeros((1, 1), np.float32), _live([])
    )
    with pytest.raises(ValueError, match="expected 0 <= own_s <= call_s"):
        times.store_s(0, 5)


def test_scorer_that_loses_a_request_is_refused() -> None:
    times = LiveServiceTimes(
        lambda r, h: (None, _Read(1.0, 1.0)), lambda p: p, lambda *a: np.zeros((1, 1), np.float32), _live([])
    )
    times.store_s(0, 5)
    times.store_s(1, 5)
    with pytest.raises(ValueError, match="1 rows for 2 requests, expected one each"):
        times.score_s([0, 1], "heavy", [5, 5])


def test_ten_thousand_requests_are_simulated_a_cpu_second() -> None:
    n = 10_000
    arm, available = long_arm(), history_lengths(n)
    arrivals = daily_arrivals(0.6 * capacity_rps(arm, PROFILE, 8, available), n, 1)
    start_s = time.process_time()
    serve(arrivals, available, arm, _times(arm, n), 0.004)
    assert n / (time.process_time() - start_s) > 10_000
