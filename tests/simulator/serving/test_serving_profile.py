"""Profiles: files, interpolation, measurement and what the draws promise."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from serving_doubles import HISTORIES, long_arm, short_arm, synthetic_profile

from simulator.arms.profiling.cells import put_together
from simulator.serving.arm import ServingArm, build_ladder
from simulator.serving.capacity import capacity_rps
from simulator.serving.fitness import disagreements, smoothed
from simulator.serving.grid import quantile
from simulator.serving.luck import luck
from simulator.serving.measure import Cell, measure, this_machine
from simulator.serving.predictions import ProfilePredictions
from simulator.serving.profile import (
    VISIT,
    Machine,
    ProfileError,
    ServiceProfile,
    from_json,
    from_measured,
    load,
    save,
    to_json,
)
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
    times = ProfileServiceTimes(PROFILE, long_arm(), 64, 7, IDS, extrapolate=True)
    inside = ProfileServiceTimes(PROFILE, long_arm(), 16, 7, IDS)
    assert times.store_s(3, 5000) == inside.store_s(3, 1000)
    assert times.score_s([3], "heavy", [100]) == inside.score_s([3], "heavy", [100])
    inside.score_s([3] * 40, "heavy", [100] * 40)
    assert times.clamped == {"store": 1, "transport": 0, "score": 1}
    assert inside.clamped == {"store": 0, "transport": 0, "score": 1}


@pytest.mark.parametrize(
    ("arm", "candidates", "longest", "what"),
    [
        (long_arm(), 64, 100, "64 candidates of heavy.* at most 16"),
        (long_arm(max_batch=32), 16, 100, "32 requests in a batch of heavy.* at most 16"),
        (
            replace(long_arm(), steps=build_ladder("heavy", 2000)),
            16,
            1500,
            "1,500 behaviours.* at most 1,000",
        ),
    ],
)
def test_what_was_not_measured_is_refused_with_the_remedy(
    arm: ServingArm, candidates: int, longest: int, what: str
) -> None:
    with pytest.raises(ProfileError, match=what + r".*laser-ab profile.*experiment\.extrapolate"):
        capacity_rps(arm, PROFILE, candidates, [longest])
    assert capacity_rps(arm, PROFILE, candidates, [longest], extrapolate=True) > 0.0


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


def cells(count: int, visited: list[int]) -> list[Cell]:
    """Cells whose calls charge a second for each number of theirs, and note when they are called."""

    def cell(i: int) -> Cell:
        return Cell("transport", (i,), lambda: visited.append(-1), lambda: visited.append(i) or float(i + 1))

    return [cell(i) for i in range(count)]


def test_measurement_visits_every_cell_in_fresh_orders_with_other_work_before_each_call() -> None:
    visited: list[int] = []
    measured = cells(4, visited)
    told: list[float] = []
    measure(measured, 100, estimated=told.append)
    assert all(cell.wall_s == [float(cell.point[0] + 1)] * 100 for cell in measured)
    assert all(len(cell.cpu_s) == 100 for cell in measured)
    assert visited[::2] == [-1] * (len(visited) // 2)
    calls = visited[1::2][8:]  # two rounds to begin with
    visits = [calls[i : i + VISIT + 1] for i in range(0, len(calls), VISIT + 1)]
    assert all(len(set(visit)) == 1 for visit in visits)
    rounds = [tuple(visit[0] for visit in visits[i : i + 4]) for i in range(0, len(visits), 4)]
    assert len(rounds) == 10
    assert all(sorted(r) == [0, 1, 2, 3] for r in rounds)
    assert len(set(rounds)) > 3
    assert len(told) == 1
    first = list(visited)
    visited.clear()
    measure(measured, 100, again=1)
    assert visited != first
    # Beside the first, and without the two rounds that are not counted.
    assert all(cell.wall_s == [float(cell.point[0] + 1)] * 200 for cell in measured)
    assert all(len(cell.cpu_s) == 200 for cell in measured)
    assert gc.isenabled()


def test_the_first_call_after_another_cells_is_not_counted() -> None:
    called: list[int] = []

    def cell(i: int) -> Cell:
        def timed() -> float:
            called.append(i)
            return 1.0 if called[-2:] == [i, i] else 2.0  # as caches that another model has filled

        return Cell("transport", (i,), lambda: None, timed)

    both = [cell(0), cell(1)]
    measure(both, 100)
    assert all(one.wall_s == [1.0] * 100 for one in both)


def test_measurement_charges_the_stores_own_work_with_the_collector_off() -> None:
    collecting: list[bool] = []
    cell = Cell("store/x", (5,), lambda: None, lambda: collecting.append(gc.isenabled()) or 0.25)
    measure([cell], 100)
    assert cell.wall_s == [0.25] * 100
    assert not any(collecting)


def test_measurement_times_real_work_and_its_cpu_time_beside_it() -> None:
    data = {h: np.arange(h, dtype=np.float64) for h in (100, 200_000)}
    measured = [Cell("transport", (h,), lambda: None, partial(_sort, data[h])) for h in data]
    measure(measured, 100)
    small, large = (np.median(cell.wall_s) for cell in measured)
    assert large > small > 0.0
    assert 0.0 < np.median(measured[1].cpu_s) <= large * 1.5


def test_what_reading_the_clocks_takes_is_in_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]

    def passes(seconds: float) -> float:
        now_s[0] += seconds
        return now_s[0]

    monkeypatch.setattr("time.thread_time", lambda: passes(1.0))  # a slow call of the kernel's
    monkeypatch.setattr("time.perf_counter", lambda: now_s[0])
    cell = Cell("transport", (5,), lambda: None, lambda: passes(0.25) and None)
    measure([cell], 100)
    assert cell.wall_s == [0.25] * 100


def _sort(values: np.ndarray) -> None:
    np.sort(values[::-1].copy())


@pytest.mark.parametrize(("points", "repeats"), [(1, 99), (0, 100)])
def test_measurement_too_small_is_refused(points: int, repeats: int) -> None:
    with pytest.raises(ValueError, match="expected at least 100 repeats"):
        measure(cells(points, []), repeats)


def in_order(wall: dict[int, list[float]], score: dict[tuple[int, int, int], list[float]]) -> ServiceProfile:
    """A profile of one store and one model, samples as measured."""
    places = {"store/s": {(h,): s for h, s in wall.items()}, "transport": {(h,): s for h, s in wall.items()}}
    cpu = {place: dict.fromkeys(grid, (0.5, 0.9)) for place, grid in places.items()}
    return from_measured(
        Machine("m", 1, 1.0, None), {}, "c", "2026-01-01", places | {"score/m": score}, cpu, ["n"]
    )


SLOW = [1.0] * 90 + [9.0] * 10  # the last visit was a slow one
FAST = [1.0 + i / 1000 for i in range(100)]


def test_a_profile_keeps_the_order_of_measurement_through_its_file(tmp_path: Path) -> None:
    profile = in_order({10: SLOW}, {(10, 4, 1): SLOW[::-1]})
    save(profile, tmp_path / "p.json")
    loaded = load(tmp_path / "p.json")
    assert loaded.measured("store/s", (10,)) == tuple(SLOW)
    assert loaded.measured("score/m", (10, 4, 1)) == tuple(SLOW[::-1])
    assert loaded.store["s"][10] == tuple(sorted(SLOW))
    assert loaded.cpu_s["transport"] == {(10,): (0.5, 0.9)}
    assert loaded.notes == ("n",)
    assert to_json(loaded) == to_json(profile)
    assert not PROFILE.order
    assert PROFILE.measured("transport", (10,)) == PROFILE.transport[10]


def test_a_stretch_of_slowness_meets_requests_that_follow_one_another() -> None:
    profile = in_order({10: SLOW}, {(10, 4, 1): FAST})
    drawn = luck(profile, "store", 7, np.arange(20_000))
    spread = np.quantile(np.array(profile.store["s"][10]), drawn)
    slow = spread > 5.0
    assert slow.mean() == pytest.approx(0.1, abs=0.03)
    # Of the neighbours of a slow request nearly all are slow, where luck of their own would make a tenth so.
    assert slow[1:][slow[:-1]].mean() > 0.85
    assert (slow.reshape(-1, VISIT).sum(axis=1) % VISIT == 0).all()
    assert np.array_equal(luck(profile, "store", 7, np.arange(500)), drawn[:500])
    assert np.array_equal(luck(profile, "store", 7, np.arange(123, 500), 123), drawn[123:500])
    assert not np.array_equal(luck(profile, "store", 8, np.arange(500)), drawn[:500])
    assert not np.array_equal(luck(profile, "transport", 7, np.arange(500)), drawn[:500])


def test_luck_keeps_every_cells_spread() -> None:
    profile = in_order({10: FAST, 20: SLOW}, {(10, 4, 1): FAST})
    drawn = luck(profile, "store", 7, np.arange(50_000))
    for q in (0.1, 0.5, 0.9):
        assert np.mean(drawn <= q) == pytest.approx(q, abs=0.02)


def test_cells_that_disagree_with_their_neighbours_are_found_and_smoothed() -> None:
    score = {(10, 4, 1): FAST, (10, 4, 2): [s - 0.5 for s in FAST], (20, 4, 1): FAST, (20, 4, 2): FAST}
    profile = in_order({10: FAST, 20: FAST}, score)
    (wrong,) = [
        w for w in disagreements(profile) if w.message.endswith("at (10, 4, 1)") and "P50" in w.message
    ]
    assert (wrong.place, wrong.point, wrong.than) == ("score/m", (10, 4, 2), (10, 4, 1))
    mended = smoothed(profile)
    assert not disagreements(mended)
    # The mean of both: neither is known to be the wrong one.
    for point in ((10, 4, 1), (10, 4, 2)):
        assert mended.score["m"][point] == pytest.approx([s - 0.25 for s in sorted(FAST)])
    assert mended.store == profile.store
    assert len(mended.notes) == 2
    assert "smoothed: score/m at (10, 4, 2)" in mended.notes[1]
    assert smoothed(mended) == mended


@given(
    hnp.arrays(np.float64, (4, 3), elements=st.floats(0.5, 4.0)),
    st.integers(100, 140),
)
def test_smoothing_keeps_the_mean_and_leaves_no_disagreement(scale: NDArray[np.float64], more: int) -> None:
    points = [(h, 4, b) for h in (5, 10, 20, 40) for b in (1, 2, 4)]
    cells = [[s * float(scale.flat[i]) for s in FAST] for i in range(len(points))]
    # One cell was measured again: it has more samples than its neighbours.
    cells[5] = list(np.interp(np.linspace(0, 99, more), np.arange(100), cells[5]))
    profile = in_order({10: FAST}, dict(zip(points, cells, strict=True)))
    mended = smoothed(profile)
    assert not disagreements(mended)
    means = [np.mean([np.mean(one.score["m"][p]) for p in points]) for one in (profile, mended)]
    assert means[1] == pytest.approx(means[0], rel=1e-3)


def test_a_smoothed_profile_is_the_same_once_it_was_read_from_its_file() -> None:
    score = {(10, 4, 1): [1.0] * 100, (10, 4, 2): [0.5] * 50 + [0.4] * 50}  # some become equal
    mended = smoothed(in_order({10: FAST}, score))
    assert set(mended.score["m"][10, 4, 2]) == {0.7, 0.75}
    again = from_json(to_json(mended), "p.json")
    assert again == mended
    assert to_json(again) == to_json(mended)


def test_noise_within_a_few_hundredths_disagrees_with_nothing() -> None:
    near = [s * 0.97 for s in FAST]
    assert not disagreements(in_order({10: FAST, 20: near}, {(10, 4, 1): FAST, (10, 4, 2): near}))


def test_a_single_request_with_a_long_tail_is_found() -> None:
    tail = [1.0] * 90 + [4.0] * 10
    (wrong,) = disagreements(in_order({10: FAST}, {(10, 4, 1): tail, (10, 4, 2): tail}))
    assert wrong.than is None
    assert "more than 3 times its P50" in wrong.message


def test_a_batch_beyond_what_is_scored_at_once_takes_as_long_as_its_parts_in_a_row() -> None:
    taken = put_together({(10, 4, 2): [1.0, 2.0, 4.0]}, (10, 4, 6), 2)
    assert taken == [7.0, 7.0, 7.0]
    assert put_together({(10, 4, 2): [1.0, 2.0, 4.0]}, (10, 4, 3), 2) == [3.0, 6.0, 5.0]


def test_this_machine_is_described() -> None:
    machine = this_machine(gpu="none at all")
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.memory_gib > 0
    assert machine.gpu == "none at all"
