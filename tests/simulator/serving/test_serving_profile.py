"""Profiles: files, interpolation, measurement and what the draws promise."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_doubles import HISTORIES, long_arm, short_arm, synthetic_profile

from simulator.serving.grid import quantile
from simulator.serving.measure import measure_scoring, measure_store, measure_transport, this_machine
from simulator.serving.predictions import ProfilePredictions
from simulator.serving.profile import ProfileError, from_json, load, save, to_json
from simulator.serving.service_times import ProfileServiceTimes

PROFILE = synthetic_profile()
IDS = np.arange(4000, dtype=np.uint64)


def test_profile_survives_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "profile.json"
    save(PROFILE, path)
    assert to_json(load(path)) == to_json(PROFILE)
    assert [p.name for p in path.parent.iterdir()] == ["profile.json"]


def test_missing_profile_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"found no readable profile .* expected .* `laser-ab profile`"):
        load(tmp_path / "none.json")


def test_truncated_profile_is_an_error_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    save(PROFILE, path)
    whole = path.read_text()
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_text(whole[:cut])
        with pytest.raises(ProfileError, match="expected"):
            load(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), 99),
        (("machine",), None),
        (("transport", "10"), [1.0] * 99),
        (("transport", "10"), [-1.0] * 100),
        (("transport", "10"), [2.0, *[1.0] * 99]),
        (("transport", "10"), [float("nan")] * 100),
        (("transport", "-3"), [1.0] * 100),
        (("transport", "ten"), [1.0] * 100),
        (("transport",), {}),
        (("score", "light", "10", "4"), {"1": [1.0] * 100}),
        (("score", "light", "10", "0"), {"1": [1.0] * 100}),
        (("store",), []),
    ],
)
def test_damaged_field_is_refused(path: tuple[str, ...], value: Any) -> None:
    raw = json.loads(json.dumps(to_json(PROFILE)))
    inner = raw
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ProfileError, match="expected"):
        from_json(raw)


def test_profile_without_the_arms_store_or_model_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"no store 'other', found \['lean'"):
        ProfilePredictions(PROFILE, replace(short_arm(), store="other"), 4)
    with pytest.raises(ProfileError, match="no model 'heavy'"):
        ProfilePredictions(replace(PROFILE, score={"light": PROFILE.score["light"]}), long_arm(), 4)


def test_interpolation_is_exact_at_grid_points() -> None:
    times = ProfilePredictions(PROFILE, long_arm(), 16, quantile=0.9)
    for h in HISTORIES:
        assert times.predict_store_s(h) == quantile(PROFILE.store["lean"][h], 0.9)
        assert times.predict_score_s("heavy", h, 8) == quantile(PROFILE.score["heavy"][h, 16, 8], 0.9)
    assert times.predict_transport_s(100) == quantile(PROFILE.transport[100], 0.9)


@given(st.integers(10, 999), st.integers(1, 15), st.floats(0.0, 1.0))
def test_interpolation_stays_between_its_neighbours(history: int, batch: int, u: float) -> None:
    grid = PROFILE.score_grid("heavy")
    lower = max(h for h in HISTORIES if h <= history)
    upper = min(h for h in HISTORIES if h > history)
    here = grid.at(history, 4, 1).quantile(u)
    ends = sorted((grid.at(lower, 4, 1).quantile(u), grid.at(upper, 4, 1).quantile(u)))
    assert ends[0] * (1 - 1e-12) <= here <= ends[1] * (1 + 1e-12)
    mixed = grid.at(history, 9, batch)
    assert mixed.quantile(u) <= mixed.quantile(1.0)
    assert sum(w for w, _ in mixed.corners) == pytest.approx(1.0)


def test_interpolation_is_monotone_in_history_between_grid_points() -> None:
    grid = PROFILE.score_grid("heavy")
    for lower, upper in pairwise(HISTORIES):
        values = [grid.at(h, 4, 3).quantile(0.5) for h in range(lower, upper + 1)]
        steps = np.diff(values)
        assert (steps > 0).all() or (steps < 0).all()


def test_interpolation_is_halfway_where_logarithms_are() -> None:
    grid = PROFILE.score_grid("light")
    low, high = (grid.at(50, 4, b).quantile(0.3) for b in (4, 16))
    assert grid.at(50, 4, 8).quantile(0.3) == PROFILE_LIGHT_8
    two = PROFILE.transport_grid
    middle = two.at((11 * 51) ** 0.5 - 1).quantile(0.3)  # log(1 + h) is the middle of 10's and 50's
    assert middle == pytest.approx(0.5 * (two.at(10).quantile(0.3) + two.at(50).quantile(0.3)))
    assert low < high


PROFILE_LIGHT_8 = quantile(PROFILE.score["light"][50, 4, 8], 0.3)


def test_asking_outside_the_envelope_gives_the_edge_and_is_counted() -> None:
    times = ProfileServiceTimes(PROFILE, long_arm(), 64, 7, IDS)
    inside = ProfileServiceTimes(PROFILE, long_arm(), 16, 7, IDS)
    assert times.store_s(3, 5000) == inside.store_s(3, 1000)
    assert times.score_s([3], "heavy", [100]) == inside.score_s([3], "heavy", [100])
    inside.score_s([3] * 40, "heavy", [100] * 40)
    assert times.clamped == {"store": 1, "transport": 0, "score": 1}
    assert inside.clamped == {"store": 0, "transport": 0, "score": 1}


def test_draws_follow_the_measured_spread() -> None:
    times = ProfileServiceTimes(PROFILE, short_arm(), 4, 7, IDS)
    drawn = np.array([times.store_s(r, 50) for r in range(len(IDS))])
    for q in (0.1, 0.5, 0.9, 0.99):
        below = np.mean(drawn <= quantile(PROFILE.store["wide"][50], q))
        assert below == pytest.approx(q, abs=4 * np.sqrt(q * (1 - q) / len(drawn)))
    assert drawn.mean() == pytest.approx(times.store_spread(50).mean(), rel=0.02)


def test_arms_meet_the_same_luck_and_requests_do_not() -> None:
    short, long = (ProfileServiceTimes(PROFILE, arm, 4, 7, IDS) for arm in (short_arm(), long_arm()))
    ranks = [
        np.argsort([t.score_s([r], "light", [50]) for r in range(200)], kind="stable") for t in (short, long)
    ]
    assert (ranks[0] == ranks[1]).all()
    assert len({short.store_s(r, 50) for r in range(200)}) == 200
    other = ProfileServiceTimes(PROFILE, short_arm(), 4, 8, IDS)
    assert other.store_s(0, 50) != short.store_s(0, 50)


@pytest.mark.parametrize(("candidates", "q"), [(0, 0.9), (4, 0.0), (4, 1.0)])
def test_impossible_predictions_are_refused(candidates: int, q: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        ProfilePredictions(PROFILE, short_arm(), candidates, q)


@dataclass(frozen=True)
class _Read:
    call_s: float
    own_s: float


def test_measurement_interleaves_points_and_keeps_the_spread() -> None:
    visited: list[tuple[int, ...]] = []
    spread = measure_scoring(lambda *p: visited.append(p), (1, 2), (4,), (1, 8), repeats=100, warm_up=2)
    assert set(spread) == {(1, 4, 1), (1, 4, 8), (2, 4, 1), (2, 4, 8)}
    assert all(len(s) == 100 and list(s) == sorted(s) and s[0] > 0.0 for s in spread.values())
    visits = [visited[i : i + 12] for i in range(0, len(visited), 12)]  # two to warm up, ten kept
    assert all(len(set(visit)) == 1 for visit in visits)
    rounds = [tuple(visit[0] for visit in visits[i : i + 4]) for i in range(0, len(visits), 4)]
    assert len(rounds) == 10
    assert all(set(r) == set(spread) for r in rounds)
    assert len(set(rounds)) > 3


def test_measurement_charges_the_stores_own_work_with_the_collector_off() -> None:
    collecting: list[bool] = []

    def read(history: int) -> _Read:
        collecting.append(gc.isenabled())
        return _Read(call_s=2.0 * history, own_s=1.0 * history)

    assert measure_store(read, (5,), repeats=100)[5] == (5.0,) * 100
    assert not any(collecting)
    assert gc.isenabled()


def test_measurement_times_real_work() -> None:
    data = {h: np.arange(h, dtype=np.float64) for h in (100, 200_000)}
    spread = measure_transport(lambda h: np.sort(data[h][::-1].copy()), tuple(data), repeats=100)
    assert np.median(spread[200_000]) > np.median(spread[100]) > 0.0


@pytest.mark.parametrize(("points", "repeats"), [((5,), 99), ((), 100)])
def test_measurement_too_small_is_refused(points: tuple[int, ...], repeats: int) -> None:
    with pytest.raises(ValueError, match="expected at least 100 repeats"):
        measure_transport(lambda h: h, points, repeats=repeats)


def test_this_machine_is_described() -> None:
    machine = this_machine(gpu="none at all")
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.memory_gib > 0
    assert machine.gpu == "none at all"
