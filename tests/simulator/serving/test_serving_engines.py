"""Both engines of the timing plane give the same bits, on every kind of trace."""

from __future__ import annotations

import time
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from serving_doubles import history_lengths, long_arm, short_arm, synthetic_profile

from simulator.config.settings import Policy
from simulator.serving.arm import POLICIES, ServingArm
from simulator.serving.compiled import _run, warm
from simulator.serving.pipeline import serve
from simulator.serving.service_times import ProfileServiceTimes

PROFILE = synthetic_profile()


def assert_equal_bits(
    arrivals: NDArray[np.float64], available: NDArray[np.int64], arm: ServingArm, budget_s: float | None
) -> None:
    ids = np.arange(len(arrivals), dtype=np.uint64)
    times = [ProfileServiceTimes(PROFILE, arm, 9, 7, ids) for _ in range(2)]
    simpy = serve(arrivals, available, arm, times[0], budget_s, "simpy")
    compiled = serve(arrivals, available, arm, times[1], budget_s, "compiled")
    for field in fields(simpy):
        one, other = getattr(simpy, field.name), getattr(compiled, field.name)
        assert one.dtype == other.dtype, field.name
        np.testing.assert_array_equal(one, other, err_msg=field.name)
    assert times[0].clamped == times[1].clamped


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**20),
    count=st.integers(0, 90),
    rate=st.floats(100.0, 20_000.0),
    ties=st.sampled_from([None, 3, 2]),
    long=st.booleans(),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9)),
    max_wait_s=st.sampled_from([0.0, 0.0004, 0.002]),
    policy=st.sampled_from(POLICIES),
    budget_s=st.one_of(st.none(), st.floats(1e-4, 2e-2)),
)
def test_the_engines_give_equal_bits(
    seed: int,
    count: int,
    rate: float,
    ties: int | None,
    long: bool,
    sizes: tuple[int, int, int],
    max_wait_s: float,
    policy: Policy,
    budget_s: float | None,
) -> None:
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1.0 / rate, count))
    if ties is not None:
        arrivals = np.round(arrivals, ties)
    workers, scorers, batch = sizes
    arm = (long_arm if long else short_arm)(store_workers=workers, scorers=scorers, max_batch=batch)
    arm = replace(arm, max_wait_s=max_wait_s, policy=policy)
    assert_equal_bits(arrivals, rng.integers(0, 1201, count), arm, budget_s)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("max_wait_s", [0.0, 0.002])
def test_the_engines_agree_where_a_trace_is_gone_through_in_stretches(
    policy: Policy, max_wait_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("compiled._STRETCH", "tables._AT_ONCE", "service_times._AT_ONCE"):
        monkeypatch.setattr(f"simulator.serving.{name}", 37)  # no multiple of anything
    monkeypatch.setattr("simulator.scratch._FEW_BYTES", 0)
    rng = np.random.default_rng(5)
    arm = replace(long_arm(store_workers=2, scorers=2), policy=policy, max_wait_s=max_wait_s)
    arrivals = np.round(np.cumsum(rng.exponential(1 / 3000, 1000)), 4)
    assert_equal_bits(arrivals, rng.integers(0, 1201, 1000), arm, 0.004)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("count", [0, 1])
def test_the_engines_agree_on_empty_and_single_traces(policy: Policy, count: int) -> None:
    arm = replace(long_arm(), policy=policy)
    assert_equal_bits(np.full(count, 0.5), np.full(count, 300), arm, 0.004)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_engines_agree_on_a_hundred_thousand_at_once(policy: Policy) -> None:
    count = 100_000
    arm = replace(long_arm(store_workers=3, scorers=2), policy=policy)
    arrivals = np.concatenate([np.zeros(count - 200), np.linspace(0.1, 0.3, 200)])
    assert_equal_bits(arrivals, history_lengths(count), arm, 0.01)


@pytest.mark.parametrize("policy", ["fifo", "goodput"])
def test_a_request_of_a_burst_costs_the_same_however_large_it_is(policy: Policy) -> None:
    arm = replace(long_arm(), policy=policy)
    spent = []
    for count in (1_000, 50_000, 500_000):  # the first call may compile
        times = ProfileServiceTimes(PROFILE, arm, 8, 7, np.arange(count, dtype=np.uint64))
        arrivals, available = np.zeros(count), np.full(count, 500)
        start_s = time.process_time()
        serve(arrivals, available, arm, times, None if policy == "fifo" else 60.0)
        spent.append(time.process_time() - start_s)
    assert spent[2] < 30.0 * spent[1]


def test_what_is_compiled_beforehand_serves_traces_of_every_size() -> None:
    warm(PROFILE)
    before = len(_run.signatures)
    for count in (0, 1, 2, 30):
        times = ProfileServiceTimes(PROFILE, long_arm(), 8, 7, np.arange(count, dtype=np.uint64))
        serve(np.linspace(0.0, 1.0, count), np.full(count, 300), long_arm(), times, 0.004)
    assert len(_run.signatures) == before == 1
