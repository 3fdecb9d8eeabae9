"""Both engines against queueing theory, through `simulator.certificate.queues`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.certificate.queueing import customers_needed, queueing_rows
from simulator.certificate.queues import GivenTimes, Queue, simulate_queue, theory
from simulator.config.settings import Engine
from simulator.errors import SimulatorError
from simulator.serving.arm import LadderStep, ServingArm
from simulator.serving.pipeline import serve

QUEUES = (
    Queue(1, 0.8),
    Queue(4, 3.2),
    Queue(1, 0.8, cv2=0.0),
    Queue(1, 0.8, cv2=4.0),
    Queue(1, 0.8, patience=2.0),
    Queue(1, 0.95, patience=5.0),
)


@pytest.mark.parametrize("queue", QUEUES)
def test_the_compiled_engine_waits_and_loses_as_theory_says(queue: Queue) -> None:
    for row in queueing_rows(queue, 40_000, "compiled", 7):
        assert row.ok, row
        assert row.theory is not None
        assert row.high - row.low < 0.5 * row.theory


@pytest.mark.parametrize(
    "queue",
    [
        Queue(1, 0.99),  # it still fills
        Queue(100, 99.9),
        Queue(1, 0.9, cv2=10.0),
        Queue(1, 2.0, patience=10_000.0),
        Queue(1, 0.5, patience=30.0),  # nobody is lost
        Queue(1, 0.5, patience=1e6),
        Queue(20, 1.0),  # nobody waits
    ],
)
def test_a_run_too_short_to_tell_is_called_that_and_not_refuted(queue: Queue) -> None:
    for row in queueing_rows(queue, 1_000, "compiled", 7):
        assert not row.ok
        assert "found 1,000 customers of each run, expected about " in row.untold


@pytest.mark.parametrize(
    "queue", [Queue(1, 0.9), Queue(5, 4.5), Queue(1, 0.9, cv2=0.0), Queue(1, 0.95, patience=9.0)]
)
def test_as_many_customers_as_are_needed_are_held_against_theory(queue: Queue) -> None:
    for row in queueing_rows(queue, int(customers_needed(queue)) + 1, "compiled", 7):
        assert row.ok, row
        wrong = replace(row, simulated=row.high + 1e-9)
        assert not wrong.ok
        assert not wrong.untold


@pytest.mark.parametrize("queue", QUEUES)
def test_the_engines_find_the_same_of_a_queue(queue: Queue) -> None:
    engines: tuple[Engine, Engine] = ("simpy", "compiled")
    one, other = (simulate_queue(queue, 2_000, 3, engine) for engine in engines)
    assert one == other


def test_published_values_of_erlang_and_barrer() -> None:
    assert theory(Queue(10, 8.0)) == pytest.approx({"P(wait)": 0.409180, "mean wait": 0.204590}, abs=1e-6)
    assert theory(Queue(2, 1.6)) == pytest.approx({"P(wait)": 0.711111, "mean wait": 1.777778}, abs=1e-6)
    assert theory(Queue(1, 0.8, patience=2.0)) == pytest.approx({"P(lost)": 0.187832}, abs=1e-6)
    assert theory(Queue(1, 0.95, patience=5.0)) == pytest.approx({"P(lost)": 0.124500}, abs=1e-6)


@pytest.mark.parametrize("queue", [Queue(2, 2.0), Queue(3, 1.0, cv2=0.5), Queue(2, 1.0, patience=1.0)])
def test_a_queue_without_a_known_answer_is_refused(queue: Queue) -> None:
    with pytest.raises(SimulatorError, match="Found"):
        theory(queue)


def test_given_service_times_are_served_to_the_bit() -> None:
    rng = np.random.default_rng(2)
    work, read = rng.gamma(0.5, 2.0, 500), rng.exponential(0.1, 500)
    steps = (LadderStep("full", "model", 1), LadderStep("prior", None, 0))
    arm = ServingArm("given", "store", steps, 3, 2, 1, policy="fifo")
    served = serve(np.arange(500) * 1e6, np.ones(500, np.int64), arm, GivenTimes(arm, work, read), None)
    times = GivenTimes(arm, work, read)
    assert [times.score_s([r], "model", [1]) for r in range(500)] == work.tolist()
    assert [times.store_s(r, 1) for r in range(500)] == read.tolist()
    assert np.allclose(served.latency_s, work + read, rtol=0.0, atol=1e-6)
