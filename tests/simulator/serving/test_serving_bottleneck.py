"""Whose work fills the servers, and what a slow request's time is made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_doubles import (
    DrawnTimes,
    daily_arrivals,
    history_lengths,
    long_arm,
    plain_arm,
    short_arm,
    synthetic_profile,
)

from simulator.serving.arm import ServingArm
from simulator.serving.bottleneck import ServerLoad, latency_parts, server_load
from simulator.serving.capacity import capacity_rps
from simulator.serving.pipeline import Served, serve
from simulator.serving.profile import ServiceProfile
from simulator.serving.service_times import ProfileServiceTimes

PROFILE = synthetic_profile()
SERVICE = ("store_service", "transport_service", "scorer_service")


def slowed(store: float = 1.0, transport: float = 1.0, score: float = 1.0) -> ServiceProfile:
    """The synthetic machine with some of its stages so many times as slow."""

    def times(samples: tuple[float, ...], factor: float) -> tuple[float, ...]:
        return tuple(factor * s for s in samples)

    return replace(
        PROFILE,
        store={k: {h: times(s, store) for h, s in grid.items()} for k, grid in PROFILE.store.items()},
        transport={h: times(s, transport) for h, s in PROFILE.transport.items()},
        score={k: {at: times(s, score) for at, s in grid.items()} for k, grid in PROFILE.score.items()},
    )


def loaded(
    arm: ServingArm,
    profile: ServiceProfile,
    load: float = 0.5,
    budget_s: float | None = None,
    count: int = 3000,
) -> tuple[Served, ServerLoad]:
    available = history_lengths(count)
    arrivals = daily_arrivals(load * capacity_rps(arm, profile, 8, available), count, seed=5)
    times = ProfileServiceTimes(profile, arm, 8, 7, np.arange(count, dtype=np.uint64))
    served = serve(arrivals, available, arm, times, budget_s)
    return served, server_load(served, arm, times)


@pytest.mark.parametrize("arm", [short_arm(), long_arm(store_workers=3, scorers=2)])
@pytest.mark.parametrize(
    ("slow", "named", "part"),
    [("store", "store", 0), ("transport", "transport", 1), ("score", "scorer", 2)],
)
def test_the_slow_stage_is_named_and_fills_the_p99(arm: ServingArm, slow: str, named: str, part: int) -> None:
    _, load = loaded(arm, slowed(**{slow: 100.0}))
    utilisations = (load.store_utilisation, load.transport_utilisation, load.scorer_utilisation)
    assert load.bottleneck == named
    assert max(utilisations) == utilisations[part] > 0.3
    assert load.p99_shares is not None
    assert max(SERVICE, key=load.p99_shares.__getitem__) == SERVICE[part]


@pytest.mark.parametrize("budget_s", [None, 0.02, 0.004, 0.002, 0.0005])
def test_the_parts_of_each_latency_add_up_whatever_answered_the_request(budget_s: float | None) -> None:
    served, load = loaded(long_arm(), PROFILE, load=0.9, budget_s=budget_s)
    parts = latency_parts(served)
    assert np.allclose(sum(parts.values()), served.latency_s, rtol=0, atol=1e-9)
    assert all((part >= -1e-12).all() for part in parts.values())
    assert load.p99_shares is not None
    assert sum(load.p99_shares.values()) == pytest.approx(1.0)


def test_utilisation_is_the_work_over_what_the_servers_could_do() -> None:
    count = 2000
    arrivals = np.arange(count) * 0.01
    arm = plain_arm(store_workers=2, scorers=3)
    times = DrawnTimes(np.full(count, 0.004), np.full(count, 0.018))
    served = serve(arrivals, np.ones(count, np.int64), arm, times, None)
    load = server_load(served, arm, times)
    assert load.requests_per_s == pytest.approx(100.0, rel=0.01)
    assert load.store_utilisation == pytest.approx(100 * 0.004 / 2, rel=0.01)
    assert load.scorer_utilisation == pytest.approx(100 * 0.018 / 3, rel=0.01)
    assert load.bottleneck == "scorer"
    assert load.p99_shares == pytest.approx(
        {
            "store_queueing": 0.0,
            "store_service": 4 / 22,
            "transport_service": 0.0,
            "scorer_queueing": 0.0,
            "scorer_service": 18 / 22,
        }
    )


def test_a_batch_is_one_piece_of_work_however_many_requests_it_holds() -> None:
    count, size = 400, 4
    arrivals = np.repeat(np.arange(count // size) * 0.1, size)
    arm = plain_arm(store_workers=size, max_batch=size, max_wait_s=0.05)
    times = DrawnTimes(np.full(count, 0.001), np.full(count, 0.05))
    served = serve(arrivals, np.ones(count, np.int64), arm, times, None)
    load = server_load(served, arm, times)
    assert load.mean_batch == size
    assert load.scorer_utilisation == pytest.approx(0.5, rel=0.02)


def test_a_full_batch_costs_what_the_profile_says() -> None:
    def cost(of_batch: float) -> float:
        grid = {
            model: {(h, c, b): (1e-3 * (1 + of_batch * (b - 1)),) * 100 for h, c, b in cells}
            for model, cells in PROFILE.score.items()
        }
        return loaded(long_arm(), replace(PROFILE, score=grid), count=200)[1].full_batch_cost

    assert cost(0.0) == pytest.approx(1.0)  # nothing but the call itself
    assert cost(1.0) == pytest.approx(8.0)


def test_a_stretch_of_the_trace_has_its_own_load() -> None:
    arm, count = short_arm(), 2000
    gaps = np.where(np.arange(count) < 1000, 0.1, 0.01)
    times = ProfileServiceTimes(PROFILE, arm, 8, 7, np.arange(count, dtype=np.uint64))
    served = serve(np.cumsum(gaps), np.full(count, 50), arm, times, None)
    quiet, busy = (server_load(served, arm, times, np.arange(a, a + 1000)) for a in (0, 1000))
    assert quiet.requests_per_s == pytest.approx(10.0, rel=0.01)
    assert busy.requests_per_s == pytest.approx(100.0, rel=0.01)
    assert busy.store_utilisation == pytest.approx(10 * (quiet.store_utilisation or 0.0), rel=0.05)


def test_where_nothing_was_served_nothing_is_claimed() -> None:
    served, _ = loaded(short_arm(), PROFILE, count=200)
    times = ProfileServiceTimes(PROFILE, short_arm(), 8, 7, np.arange(200, dtype=np.uint64))
    load = server_load(served, short_arm(), times, np.zeros(0, np.int64))
    assert (load.bottleneck, load.requests_per_s, load.mean_batch, load.p99_shares) == (
        None,
        None,
        None,
        None,
    )


def test_servers_that_did_nothing_are_no_bottleneck() -> None:
    _, load = loaded(short_arm(), PROFILE, budget_s=1e-6, count=200)
    assert load.bottleneck is None
    assert load.requests_per_s is not None
    assert load.scorer_utilisation == 0.0
