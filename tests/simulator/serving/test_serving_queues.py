"""The pipeline against queueing theory, with service times that are textbook distributions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from serving_doubles import DrawnTimes, plain_arm

from simulator.serving.pipeline import Served, serve

# Service rate 1: servers, offered load, Erlang C = P(wait), mean wait in s.
ERLANG = {(1, 0.8): (0.8, 4.0), (4, 3.2): (0.596432, 0.745541)}
ERLANG_MORE = {(1, 0.9): (0.9, 9.0), (2, 1.6): (0.711111, 1.777778), (10, 8.0): (0.409180, 0.204590)}
REPLICATIONS = 8


def _arrivals(rng: np.random.Generator, rate: float, count: int) -> NDArray[np.float64]:
    return np.cumsum(rng.exponential(1.0 / rate, count))


def _serve(arrivals: NDArray[np.float64], store_s: NDArray[np.float64], workers: int) -> Served:
    ones = np.ones(len(arrivals), dtype=np.int64)
    return serve(arrivals, ones, plain_arm(store_workers=workers), DrawnTimes(store_s), None)


def _agrees(replications: list[float], theory: float, precision: float = 0.06) -> None:
    """The theory lies within a 99 % t-interval, which is narrow enough to decide."""
    mean, error = np.mean(replications), stats.sem(replications)
    half = stats.t.ppf(0.995, len(replications) - 1) * error
    assert abs(mean - theory) <= half, f"found {mean:.4f} +- {half:.4f}, expected {theory}"
    assert half < precision * theory


def _check_erlang(servers: int, offered: float, waits: float, wait_s: float, count: int) -> None:
    shares, means = [], []
    for seed in range(REPLICATIONS):
        rng = np.random.default_rng([seed, servers])
        served = _serve(_arrivals(rng, offered, count), rng.exponential(1.0, count), servers)
        wait = (served.store_start_s - served.arrival_s)[count // 10 :]  # from empty: drop the start
        shares.append(float(np.mean(wait > 1e-9)))
        means.append(float(wait.mean()))
    _agrees(shares, waits)
    _agrees(means, wait_s, precision=0.15)


@pytest.mark.parametrize(("servers", "offered"), ERLANG)
def test_store_workers_wait_as_erlang_c_says(servers: int, offered: float) -> None:
    _check_erlang(servers, offered, *ERLANG[servers, offered], count=40_000)


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "offered"), ERLANG | ERLANG_MORE)
def test_store_workers_wait_as_erlang_c_says_at_length(servers: int, offered: float) -> None:
    _check_erlang(servers, offered, *(ERLANG | ERLANG_MORE)[servers, offered], count=120_000)


def test_scorer_waits_as_pollaczek_and_khinchine_say() -> None:
    # M/D/1 at 0.8: half the wait of exponential service.
    count, means = 30_000, []
    for seed in range(REPLICATIONS):
        arrivals = _arrivals(np.random.default_rng([seed, 99]), 0.8, count)
        times = DrawnTimes(np.zeros(count), np.ones(count))
        served = serve(arrivals, np.ones(count, dtype=np.int64), plain_arm(), times, None)
        means.append(float((served.score_start_s - served.transport_end_s)[count // 10 :].mean()))
    _agrees(means, 2.0, precision=0.15)


@pytest.mark.parametrize("servers", [1, 3])
def test_waits_equal_the_recursion_of_a_plain_queue(servers: int) -> None:
    rng = np.random.default_rng(5)
    arrivals, work = _arrivals(rng, 0.9 * servers, 3000), rng.gamma(0.5, 2.0, 3000)
    served = _serve(arrivals, work, servers)
    free = np.zeros(servers)
    for i in range(len(arrivals)):
        start = max(arrivals[i], free.min())
        assert served.store_start_s[i] == pytest.approx(start, abs=1e-9)
        free[free.argmin()] = start + work[i]


def test_batching_serves_a_load_that_single_requests_cannot() -> None:
    rng = np.random.default_rng(1)
    arrivals, ones = _arrivals(rng, 3.0, 5000), np.ones(5000, dtype=np.int64)
    times = DrawnTimes(np.zeros(5000), np.ones(5000))  # a batch takes 1 s, whatever its size
    alone, batched = (serve(arrivals, ones, plain_arm(max_batch=b), times, None) for b in (1, 8))
    assert alone.latency_s.max() > 1000.0
    assert batched.latency_s.max() < 4.0
    assert batched.batch.max() == 8
