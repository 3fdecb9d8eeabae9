"""Histories read ahead by other processes are those that one process reads in turn, and so are the scores."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_runs import small

from laser.checkpoint import save
from laser.models import build_model
from seqvault.errors import StoreError
from seqvault.memory import MemoryStore
from seqvault.store import open_store
from simulator.arms.arm import Arm, ModelSpec, needed_models
from simulator.arms.histories import loaded
from simulator.arms.histories.asked import Ask, answer
from simulator.arms.histories.loaded import load_whole
from simulator.arms.histories.readers import Place, Readers
from simulator.arms.models import TrainedModel, model_config
from simulator.arms.plan import Plan, make_plan
from simulator.arms.scores import score_needed
from simulator.execution.checkpoints import file_digest
from simulator.execution.parallel import WorkerError
from simulator.inputs.prepare import Prepared

ROWS = 37


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(small())


def asks(prepared: Prepared, newest: int = 30) -> list[Ask]:
    """All requests, some at a time, and one that finds nothing."""
    requests, before_s = prepared.requests, prepared.readable_before_s
    found = [
        Ask(requests.user_id[rows], newest, before_s[rows], requests.arrival_s[rows])
        for rows in np.split(np.arange(len(requests)), range(ROWS, len(requests), ROWS))
    ]
    return [*found, Ask(np.array([1 << 40], np.uint64), newest, np.array([1]), np.array([1.0]))]


@pytest.fixture(scope="module", params=["lastn", "seqvault"])
def place(
    request: pytest.FixtureRequest, plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A loaded store that its writer still has open, as a scoring process does."""
    folder = tmp_path_factory.mktemp(request.param) / "store"
    with open_store(request.param, folder) as store:
        load_whole(plan.prepared, store)
        yield Place(request.param, folder, {})


def test_what_is_read_ahead_is_what_a_dict_answers_in_order(plan: Plan, place: Place) -> None:
    memory, every = MemoryStore(), asks(plan.prepared)
    load_whole(plan.prepared, memory)
    with Readers(place, 2, ROWS * 30) as ahead:
        ahead.open()
        for ask, found in zip(every, ahead.answers(every), strict=True):
            expected = answer(memory, ask)
            assert np.array_equal(found.batch.offsets, expected.batch.offsets)
            assert np.array_equal(found.age_s, expected.age_s)
            for name, values in expected.batch.columns.items():
                assert np.array_equal(found.batch.columns[name], values)


def test_a_reader_that_is_killed_is_reported(plan: Plan, tmp_path: Path) -> None:
    with open_store("seqvault", tmp_path / "store") as store:
        load_whole(plan.prepared, store)
        with Readers(Place("seqvault", tmp_path / "store", {}), 1, ROWS * 30) as ahead:
            ahead.open()
            answers = ahead.answers(asks(plan.prepared))
            next(answers)
            (reader,) = ahead._readers
            os.kill(reader._process.pid or 0, signal.SIGKILL)
            reader._process.join()
            with pytest.raises(WorkerError, match="reads an arm's store was killed"):
                list(answers)


def test_where_memory_is_short_the_disk_serves(
    plan: Plan, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str) -> int:
        raise OSError("no memory")

    monkeypatch.setattr(os, "memfd_create", full)
    asked = asks(plan.prepared)[:1]
    before = set(place.folder.parent.iterdir())
    with Readers(place, 1, ROWS * 30) as ahead, place.open() as store:
        assert set(place.folder.parent.iterdir()) == before  # it has no name that could be left
        ahead.open()
        (found,) = ahead.answers(asked)
        expected = answer(store, asked[0])
        assert np.array_equal(found.batch.columns["time_s"], expected.batch.columns["time_s"])


def test_what_a_store_says_in_another_process_is_said_here(tmp_path: Path) -> None:
    with (
        Readers(Place("lastn", tmp_path / "nothing", {}), 1, 10) as ahead,
        pytest.raises(StoreError, match="no LastN store to read"),
    ):
        ahead.open()


@pytest.mark.parametrize("newest", [None, 7])
def test_a_store_loaded_in_parts_answers_as_one_that_holds_everything(
    newest: int | None, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = plan.prepared
    behaviours, first = prepared.world.behaviours, len(prepared.requests) // 3
    whole, parts, sizes = MemoryStore(), MemoryStore(), []
    whole.bulk_load(behaviours.user_id, behaviours.columns)
    add = parts.append
    monkeypatch.setattr(
        parts, "append", lambda users, columns, **more: (sizes.append(len(users)), add(users, columns))
    )
    monkeypatch.setattr(loaded, "_PART_ROWS", 1000)
    load_whole(prepared, parts, first, newest)
    assert len(sizes) > 5
    assert (
        sum(sizes) == parts.stats()["behaviours"] < len(behaviours)
    )  # not what nobody can read any more or yet
    for ask in asks(prepared, newest or 10_000)[first // ROWS + 1 :]:
        expected, found = answer(whole, ask), answer(parts, ask)
        assert np.array_equal(found.batch.offsets, expected.batch.offsets)
        assert np.array_equal(found.age_s, expected.age_s)
        assert np.array_equal(found.batch.columns["category"], expected.batch.columns["category"])


def trained(plan: Plan, arm: Arm, folder: Path) -> dict[ModelSpec, TrainedModel]:
    """The arm's models, as if they had been trained."""
    found = {}
    for spec in needed_models([arm]):
        path = folder / f"{spec.key}.ckpt"
        save(build_model(model_config(plan.prepared.world.sizes, spec), seed=3), path, {})
        found[spec] = TrainedModel(spec, path, file_digest(path), {}, {}, 0.0)
    return found


def test_scores_are_the_same_bits_whoever_reads(plan: Plan, tmp_path: Path) -> None:
    (arm,) = plan.treatments
    models = trained(plan, arm, tmp_path)
    # Every step is asked for here and there, as where some requests were short of time.
    needed = np.random.default_rng(5).random((len(plan.prepared.requests), len(arm.scored_steps))) < 0.03
    alone, ahead = (
        np.stack(score_needed(plan, arm, needed, models, tmp_path / str(count), None, count)[0])
        for count in (0, 2)
    )
    assert np.array_equal(np.isnan(alone[:, :, 0]).T, ~needed)
    assert ahead.tobytes() == alone.tobytes()
