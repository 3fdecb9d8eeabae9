"""Parameters by which a world comes nearer to a real log; each is off by default."""

import numpy as np
import pytest
from scipy.stats import kstest

from simulator.logs.calibration.statistics import distributions, figures
from simulator.world.config import preset
from simulator.world.world import World, build_world

RARE = {"users": 600, "history_max": 20, "requests": 4000, "log_requests": 3, "session_gap_days": 30.0}


def came(world: World, start_s: float, end_s: float) -> np.ndarray:
    """(U,) behaviours of each user in [start_s, end_s)."""
    did, rows = world.behaviours, np.arange(len(world.behaviours.users))
    low, high = (did.count_before(rows, np.full(len(rows), at)) for at in (start_s, end_s))
    return high - low


def asked(user_id: np.ndarray, users: int) -> np.ndarray:
    return np.bincount(user_id.astype(np.int64), minlength=users)


def test_who_is_promised_one_visit_is_asked_only_where_they_came() -> None:
    world = build_world(preset("demo", **RARE, promised_visits=1), 3)
    time = world.timeline
    in_log, in_trace = (
        came(world, *span) for span in ((time.log_start_s, time.pre_start_s), (time.pre_start_s, time.end_s))
    )
    assert (in_log + in_trace > 0).all()
    for events, user_id, total in (
        (in_log, world.log.user_id, 3 * 600),
        (in_trace, world.requests.user_id, 4000),
    ):
        counts = asked(user_id, 600)
        assert (events == 0).mean() > 0.1
        assert counts.sum() == total
        # A session that runs past the period's end is counted where it began.
        assert counts[events == 0].sum() < 0.01 * total
        expected = events / events.sum() * total
        assert (np.abs(counts - expected) < 1.1).mean() > 0.95


def test_who_is_promised_both_visits_comes_in_log_and_trace() -> None:
    world = build_world(preset("demo", **RARE), 3)
    time = world.timeline
    assert came(world, time.log_start_s, time.pre_start_s).min() > 0
    assert came(world, time.pre_start_s, time.end_s).min() > 0


STAYS = {"users": 800, "history_days": 300, "promised_visits": 1, "stay_days": 5.0, "stay_sd": 0.7}


def test_users_arrive_at_any_time_and_are_gone_after_their_stay() -> None:
    # Visits follow so closely that the last one is near the stay's end.
    often = {"session_gap_days": 0.05, "session_gap_sd": 0.1, "activity_floor": 1.0, "session_mean": 1.0}
    world = build_world(preset("demo", requests=500, log_requests=2, **STAYS, **often), 3)
    did, end = world.behaviours, world.timeline.end_s
    first, last = did.time_s[did.offsets[:-1]], did.time_s[did.offsets[1:] - 1]
    assert kstest(first / end, "uniform").pvalue > 0.01
    whole = first < end - 40 * 86_400
    spent = (last - first)[whole] / 86_400
    assert kstest(np.log(spent), "norm", (np.log(5.0), 0.7)).pvalue > 0.01


def test_a_stay_begins_with_a_session_of_its_own_kind() -> None:
    shape = {"session_gap_days": 1.0, "session_mean": 2.0, "first_session": 50.0, "first_session_sd": 0.5}
    world = build_world(preset("demo", requests=500, log_requests=2, **STAYS, **shape), 3)
    did = world.behaviours
    begins = np.concatenate([[True], np.diff(did.time_s) > 1800])
    begins[did.offsets[:-1]] = True
    length = np.diff(np.flatnonzero(begins), append=len(did))
    first = np.isin(np.flatnonzero(begins), did.offsets[:-1])
    assert length[first].mean() == pytest.approx(50.0, rel=0.05)
    assert np.log(length[first]).std() == pytest.approx(0.5, rel=0.1)
    assert length[~first].mean() == pytest.approx(2.0, rel=0.1)


def test_noise_of_ones_own_lets_fewer_categories_return_after_long() -> None:
    sizes = {"users": 256, "requests": 500, "log_requests": 2}
    plain, own = (build_world(preset("demo", **sizes, noise_own=share), 3) for share in (0.0, 1.0))
    # Every category met is an interest of the user's, and times and actions are as they were.
    did, interests = own.behaviours, own._plan.users.category
    mine = np.zeros((256, 200), bool)
    mine[np.arange(256)[:, None], interests] = True
    assert mine[did.user_id.astype(np.int64), did.category].all()
    np.testing.assert_array_equal(did.time_s, plain.behaviours.time_s)
    np.testing.assert_array_equal(did.action, plain.behaviours.action)
    shares = [figures(world, distributions(world))["long_return_share"] or 0.0 for world in (plain, own)]
    assert shares[1] < 0.7 * shares[0]


def within_sessions(world: World) -> np.ndarray:
    """(N - 1,) whether a behaviour and the next are of one user and, by their pause, of one session."""
    did = world.behaviours
    pause = np.diff(did.time_s)
    return (np.diff(did.user_id.astype(np.int64)) == 0) & (pause < 1800)


@pytest.mark.parametrize("department", [1, 8])
def test_events_follow_from_the_one_before_as_often_as_asked(department: int) -> None:
    sizes = {"users": 256, "history_max": 300, "requests": 500, "log_requests": 2, "department": department}
    plain, chained = (build_world(preset("demo", **sizes, follow_share=share), 3) for share in (0.0, 0.4))
    found = []
    for world in (plain, chained):
        category = world.behaviours.category.astype(np.int64)
        expected = category // department * department + (category + 1) % department
        found.append((category[1:] == expected[:-1])[within_sessions(world)].mean())
    # An event follows, or else it is by chance what would have followed.
    assert found[1] == pytest.approx(0.4 + 0.6 * found[0], abs=0.03)
    # The mixture of departments is as it was: who follows stays in one.
    shares = [np.bincount(w.behaviours.category // department, minlength=200) / len(w.behaviours)
              for w in (plain, chained)]  # fmt: skip
    assert np.abs(shares[1] - shares[0]).sum() < 0.1


def test_items_repeat_as_often_as_asked() -> None:
    sizes = {"users": 100, "history_max": 300, "requests": 500, "log_requests": 2}
    found = []
    for share in (0.0, 0.6):
        did = build_world(preset("demo", **sizes, item_repeat=share), 3).behaviours
        last: dict[tuple[int, int], int] = {}
        same = []
        columns = (did.user_id, did.category, did.item_id)
        for user, category, item in zip(*(column.tolist() for column in columns), strict=True):
            if (user, category) in last:
                same.append(last[user, category] == item)
            last[user, category] = item
        found.append(np.mean(same))
    assert found[1] == pytest.approx(0.6 + 0.4 * found[0], abs=0.01)
