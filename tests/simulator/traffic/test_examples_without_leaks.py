"""What a model may know at request time, and nothing more."""

from dataclasses import fields, replace

import numpy as np
import pytest

from laser.examples import ExampleSet
from simulator.traffic.behaviours import Behaviours
from simulator.traffic.examples import ExampleArrays, history_slices, log_examples
from simulator.world.config import preset
from simulator.world.world import World, build_world

DELAY_S = 60.0


def test_nothing_later_than_the_ingest_horizon_enters_and_nothing_known_is_missing(world: World) -> None:
    owner = world.behaviours.user_id
    e = log_examples(world.behaviours, world.log, ingest_delay_s=DELAY_S)
    for row in range(0, len(e.request_time_s), 7):
        # The oracle: a filter over all behaviours.
        known = np.flatnonzero((owner == e.user[row]) & (e.time_s < e.request_time_s[row] - DELAY_S))
        np.testing.assert_array_equal(np.arange(e.history_start[row], e.history_end[row]), known)


def test_changing_the_future_changes_no_example(world: World) -> None:
    b = world.behaviours
    rng = np.random.default_rng(0)
    cut = world.timeline.pre_start_s
    future = b.time_s >= cut - DELAY_S
    changed = replace(
        b,
        category=np.where(future, rng.integers(0, 200, len(b)), b.category).astype(np.uint16),
        action=np.where(future, 0, b.action).astype(np.uint8),
    )
    before, after = log_examples(b, world.log), log_examples(changed, world.log)
    for name in ("category", "action", "scene", "dwell_s", "time_s"):
        for row in range(0, len(world.log), 11):
            part = slice(before.history_start[row], before.history_end[row])
            assert (before.history_start[row], before.history_end[row]) == (part.start, part.stop)
            np.testing.assert_array_equal(getattr(before, name)[part], getattr(after, name)[part])


def test_names_are_those_of_the_models_example_set() -> None:
    assert {f.name for f in fields(ExampleArrays)} == {f.name for f in fields(ExampleSet)}


def test_dtypes_are_the_contract(world: World) -> None:
    expected = {
        "category": "u2", "action": "u1", "scene": "u1", "dwell_s": "u2", "time_s": "i8",
        "history_start": "i8", "history_end": "i8", "request_time_s": "f8", "hour": "f4",
        "propensity": "f4", "ad": "i4", "ad_category": "u2", "position": "i1", "label": "u1",
        "user": "i8",
    }  # fmt: skip
    e = log_examples(world.behaviours, world.log)
    for name, dtype in expected.items():
        assert getattr(e, name).dtype == np.dtype(dtype), name
    ExampleSet(**vars(e))


def test_a_category_is_the_same_number_in_histories_and_ads_up_to_the_last_one() -> None:
    sizes = {"users": 40, "history_max": 30, "requests": 100, "log_requests": 20, "promised_visits": 1}
    made = build_world(preset("demo", **sizes, categories=65_000, ads=65_000), 3)
    e = log_examples(made.behaviours, made.log)
    np.testing.assert_array_equal(e.ad_category, made.catalogue.category[e.ad])
    assert e.ad_category.max() > 60_000
    ExampleSet(**vars(e))


def test_no_truth_and_no_user_id_reaches_a_models_batch(world: World) -> None:
    e = log_examples(world.behaviours, world.log, "train")
    rows = np.arange(32)
    blind = replace(e, p_true=None, user=np.zeros_like(e.user), label=np.zeros_like(e.label))
    seen = ExampleSet(**vars(e)).batch(rows, 50)
    unseen = ExampleSet(**vars(blind)).batch(rows, 50)
    for f in fields(seen):
        mine, other = getattr(seen, f.name), getattr(unseen, f.name)
        assert np.array_equal(np.asarray(mine), np.asarray(other)), f.name


def test_histories_are_not_copied(world: World) -> None:
    assert log_examples(world.behaviours, world.log).time_s is world.behaviours.time_s


def test_splits_partition_the_log(world: World) -> None:
    train, holdout, both = (log_examples(world.behaviours, world.log, s) for s in ("train", "holdout", None))
    assert len(train.hour) + len(holdout.hour) == len(both.hour) == len(world.log)
    assert train.request_time_s.max() < holdout.request_time_s.min()


def test_a_behaviour_exactly_at_the_horizon_is_not_yet_known() -> None:
    one = Behaviours(
        np.array([4], dtype=np.uint64), np.array([0, 3]), np.array([10, 20, 20]),
        *(np.zeros(3, dtype=d) for d in ("u8", "u2", "u1", "u1", "u2")),
    )  # fmt: skip
    users = np.full(3, 4, dtype=np.uint64)
    start, end = history_slices(one, users, np.array([80.0, 80.5, 5.0]), 60.0)
    assert start.tolist() == [0, 0, 0]
    assert end.tolist() == [1, 3, 0]


@pytest.mark.parametrize("delay_s", [-1.0, float("nan")])
def test_negative_delay_is_refused(world: World, delay_s: float) -> None:
    with pytest.raises(ValueError, match="ingest_delay_s"):
        log_examples(world.behaviours, world.log, ingest_delay_s=delay_s)


def test_unknown_split_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="Known: train, holdout"):
        log_examples(world.behaviours, world.log, "test")


def test_a_user_without_behaviours_is_named(world: World) -> None:
    stranger = replace(world.log, user_id=world.log.user_id + 10_000)
    with pytest.raises(ValueError, match="no entry in the behaviours"):
        log_examples(world.behaviours, stranger)
