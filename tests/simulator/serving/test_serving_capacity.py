"""Unloaded P95, capacity, load and the budgets of a sweep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_doubles import history_lengths, long_arm, short_arm, synthetic_profile

from simulator.serving.capacity import (
    budget_grid,
    capacity_rps,
    sim_arrivals,
    time_compression,
    unloaded_p95_s,
)
from simulator.serving.pipeline import serve
from simulator.serving.service_times import ProfileServiceTimes

PROFILE = synthetic_profile()
CONSTANT = replace(
    PROFILE,
    store={"lean": dict.fromkeys((1, 1000), (0.001,) * 100)},
    transport=dict.fromkeys((1, 1000), (0.0005,) * 100),
    score={
        m: {(h, 8, b): (0.002 + 0.001 * b,) * 100 for h in (1, 1000) for b in (1, 8)}
        for m in ("heavy", "light")
    },
)


def test_constant_stages_give_their_sum_and_the_slowest_stages_rate() -> None:
    assert unloaded_p95_s(long_arm(), CONSTANT, 8, [500]) == pytest.approx(0.0045)
    assert capacity_rps(long_arm(), CONSTANT, 8, [500]) == pytest.approx(1 / 0.0015)  # the store worker
    many = long_arm(store_workers=4)
    assert capacity_rps(many, CONSTANT, 8, [500]) == pytest.approx(8 / 0.010)  # the scorer
    assert capacity_rps(long_arm(store_workers=8, scorers=2), CONSTANT, 8, [500]) == pytest.approx(16 / 0.010)


@pytest.mark.parametrize("arm", [short_arm(), long_arm()])
def test_unloaded_p95_is_what_a_lonely_request_meets(arm: object) -> None:
    n, available = 8000, history_lengths(8000)
    times = ProfileServiceTimes(PROFILE, arm, 8, 7, np.arange(n, dtype=np.uint64))  # type: ignore[arg-type]
    served = serve(np.arange(n) * 1.0, available, arm, times, None)  # type: ignore[arg-type]
    found = unloaded_p95_s(arm, PROFILE, 8, available)  # type: ignore[arg-type]
    assert found == pytest.approx(np.quantile(served.latency_s, 0.95), rel=0.03)


@pytest.mark.parametrize("arm", [short_arm(), long_arm(max_batch=4)])
def test_capacity_separates_stable_from_growing_queues(arm: object) -> None:
    n, available = 6000, history_lengths(6000)
    capacity = capacity_rps(arm, PROFILE, 8, available)  # type: ignore[arg-type]
    ends = []
    for load in (0.9, 1.2):
        arrivals = np.arange(n) / (load * capacity)
        times = ProfileServiceTimes(PROFILE, arm, 8, 7, np.arange(n, dtype=np.uint64))  # type: ignore[arg-type]
        served = serve(arrivals, available, arm, times, None)  # type: ignore[arg-type]
        ends.append(served.latency_s[-500:].mean() * capacity)
    assert ends[0] < 40
    assert ends[1] > 10 * ends[0]


def test_compression_yields_the_wanted_load() -> None:
    log_s = 1_000_000.0 + np.sort(np.random.default_rng(0).uniform(0, 7 * 86400, 5000))
    factor = time_compression(log_s, 0.6, 800.0)
    arrivals = sim_arrivals(log_s, factor)
    assert arrivals[0] == 0.0
    assert (len(arrivals) - 1) / arrivals[-1] == pytest.approx(0.6 * 800.0)


def test_budgets_of_a_sweep_span_a_third_to_three_times_the_p95() -> None:
    budgets = budget_grid(0.004)
    assert len(budgets) == 10
    assert (budgets[0], budgets[-1]) == pytest.approx((0.0012, 0.012))
    assert (np.diff(budgets) > 0).all()


def test_impossible_requests_are_refused() -> None:
    for arrivals, load, rate in (([0.0], 0.6, 1.0), ([1.0, 1.0], 0.6, 1.0), ([0.0, 1.0], 0.0, 1.0)):
        with pytest.raises(ValueError, match="expected"):
            time_compression(arrivals, load, rate)
    with pytest.raises(ValueError, match="expected"):
        budget_grid(0.0)
    with pytest.raises(ValueError, match="expected those of the trace"):
        unloaded_p95_s(long_arm(), PROFILE, 8, [])
