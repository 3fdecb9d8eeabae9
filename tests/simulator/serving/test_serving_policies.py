"""What the policies promise: goodput against first come first served, and whom each gives up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_doubles import (
    DrawnTimes,
    history_lengths,
    long_arm,
    plain_arm,
    short_arm,
    synthetic_profile,
)

from simulator.config.settings import Policy
from simulator.serving.arm import ServingArm
from simulator.serving.capacity import capacity_rps, unloaded_p95_s
from simulator.serving.pipeline import Served, serve
from simulator.serving.service_times import ProfileServiceTimes

PROFILE = synthetic_profile()


def served_by(policy: Policy, arm: ServingArm, load: float, budgets: float, count: int = 1500) -> Served:
    """Poisson arrivals; the load is a share of the arm's capacity, the budget a multiple of its P95."""
    available = history_lengths(count)
    rate = load * capacity_rps(arm, PROFILE, 8, available)
    arrivals = np.cumsum(np.random.default_rng(1).exponential(1 / rate, count))
    times = ProfileServiceTimes(PROFILE, arm, 8, 7, np.arange(count, dtype=np.uint64))
    budget_s = budgets * unloaded_p95_s(arm, PROFILE, 8, available)
    return serve(arrivals, available, replace(arm, policy=policy), times, budget_s)


@pytest.mark.parametrize("load", [0.3, 0.8, 1.1])
@pytest.mark.parametrize("arm", [short_arm(), long_arm(scorers=2, store_workers=3)])
def test_goodput_answers_no_fewer_in_time_than_first_come_first_served(arm: ServingArm, load: float) -> None:
    fifo, goodput = (served_by(policy, arm, load, 2.0) for policy in ("fifo", "goodput"))
    assert goodput.full_history.mean() >= fifo.full_history.mean() - 0.005
    any_model = (goodput.step < len(arm.steps) - 1) & ~goodput.missed
    assert any_model.mean() >= fifo.full_history.mean()


def test_first_come_first_served_gives_nobody_up() -> None:
    served = served_by("fifo", long_arm(), 1.3, 1.5)
    assert (served.step == 0).all()
    assert served.missed.mean() > 0.5


def test_a_batch_that_saves_most_is_started_not_the_one_that_saves_the_oldest() -> None:
    # Alone, the first of four who wait would just be in time; together the three others are.
    def score_levels_s(model: str, history: int, batch: int) -> list[float]:
        return [1.0 + 0.1 * (batch - 1)] * 32

    times = DrawnTimes([0.0] * 5, [4.0, 1.3, 1.3, 1.3, 1.3], predicted_store_s=0.0)
    times.score_levels_s = score_levels_s  # type: ignore[method-assign]
    arm = plain_arm(max_batch=8)
    served = serve([0.0, 0.95, 1.7, 1.8, 1.9], [1] * 5, arm, times, 4.2)
    assert served.score_start_s[2:].tolist() == [4.0] * 3
    assert served.batch.tolist() == [1, 4, 4, 4, 4]
    assert served.missed.tolist() == [False, True, False, False, False]


def test_a_lower_step_serves_a_whole_batch_from_the_one_queue() -> None:
    arm = long_arm()
    served = served_by("goodput", arm, 1.1, 1.5)
    lower = (served.step > 0) & (served.step < len(arm.steps) - 1)
    assert lower.any()
    starts = served.score_start_s[lower]
    for start in np.unique(starts):
        together = served.score_start_s == start
        assert len(set(served.step[together].tolist())) == 1


def test_a_batch_waits_to_fill_only_as_long_as_nobody_loses_by_it() -> None:
    times = DrawnTimes([0.0] * 2, [1.0] * 2)
    arm = plain_arm(max_batch=4, max_wait_s=0.5)
    patient = serve([0.0, 9.0], [1, 1], arm, times, 2.0)
    hurried = serve([0.0, 9.0], [1, 1], arm, times, 1.25)
    assert patient.score_start_s.tolist() == [0.5, 9.5]
    assert hurried.score_start_s.tolist() == [0.0, 9.0]
    assert not hurried.missed.any()


def test_who_cannot_be_saved_stops_waiting_at_the_last_moment_it_could() -> None:
    times = DrawnTimes([0.0] * 2, [10.0, 1.0], predicted_score_s=1.0)
    served = serve([0.0, 1.0], [1, 1], plain_arm(), times, 5.0)
    assert served.step.tolist() == [0, 1]
    assert served.completion_s[1] == 5.0  # 1 s of scoring no longer fitted before 6
