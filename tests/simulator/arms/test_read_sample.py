"""A store that answers in the right form with the wrong histories ends the run, and is named."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import call, settings, small

from seqvault.errors import PluginError
from seqvault.memory import MemoryStore
from seqvault.store import HistoryBatch
from simulator.arms.histories.read_sample import SHARE, ReadSample
from simulator.arms.histories.replayed import ReplayedStore
from simulator.arms.plan import make_plan
from simulator.inputs.prepare import Prepared

HISTORY = 20


class Changed(MemoryStore):
    """Spoils a copy of each answer in `spoil`, timed or not."""

    def read_last(self, *arguments: Any, **named: Any) -> HistoryBatch:
        return self._copy(super().read_last(*arguments, **named))

    def timed_read_last(self, *arguments: Any, **named: Any) -> Any:
        batch, spent = super().timed_read_last(*arguments, **named)
        return self._copy(batch), spent

    def _copy(self, batch: HistoryBatch) -> HistoryBatch:
        copied = {name: values.copy() for name, values in batch.columns.items()}
        return self.spoil(HistoryBatch(batch.user_ids, batch.offsets, copied))

    def spoil(self, batch: HistoryBatch) -> HistoryBatch:
        return batch


class Bit(Changed):
    """One wrong byte: of the oldest behaviour that is returned."""

    def spoil(self, batch: HistoryBatch) -> HistoryBatch:
        batch.columns["category"][batch.offsets[:-1][batch.lengths > 0]] += 1
        return batch


class Forgets(Changed):
    """The newest behaviour is missing: what a cache that is a moment old answers."""

    def spoil(self, batch: HistoryBatch) -> HistoryBatch:
        keep = np.ones(batch.offsets[-1], bool)
        keep[batch.offsets[1:][batch.lengths > 0] - 1] = False
        columns = {name: values[keep] for name, values in batch.columns.items()}
        return HistoryBatch(batch.user_ids, np.cumsum([0, *np.maximum(batch.lengths - 1, 0)]), columns)


class Stranger(MemoryStore):
    """Another user's history under the name of the one asked for."""

    def read_last(self, users: Any, n: int, **named: Any) -> HistoryBatch:
        other = super().read_last(np.asarray(users) ^ np.uint64(1), n, **named)
        return HistoryBatch(np.asarray(users), other.offsets, other.columns)


class Oldest(MemoryStore):
    """The oldest n in place of the newest."""

    def read_last(self, users: Any, n: int, **named: Any) -> HistoryBatch:
        whole = super().read_last(users, 1 << 30, **named)
        lengths = np.minimum(whole.lengths, n)
        keep = np.concatenate(
            [start + np.arange(length) for start, length in zip(whole.offsets, lengths, strict=False)]
        )
        columns = {name: values[keep] for name, values in whole.columns.items()}
        return HistoryBatch(whole.user_ids, np.cumsum([0, *lengths]), columns)


class FirstLoadOnly(MemoryStore):
    """Loses every write after the first."""

    writes = 0

    def append(self, users: object, columns: Any, *, sequence: str | None = None) -> None:
        self.writes += 1
        if self.writes == 1:
            super().append(users, columns, sequence=sequence)


class Twice(MemoryStore):
    """Writes each behaviour twice, as a retry without ids does."""

    def append(self, users: object, columns: Any, *, sequence: str | None = None) -> None:
        for _ in range(2):
            super().append(users, columns, sequence=sequence)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return make_plan(small()).prepared


def read_all(prepared: Prepared, store: Any, kind: str, together: int = 32) -> None:
    """Serve the trace's reads in batches, and a few timed ones."""
    replayed = ReplayedStore(prepared, store, kind)
    rows = np.arange(len(prepared.requests))
    for start in range(0, len(rows), together):
        chunk = rows[start : start + together]
        replayed.ingest(int(prepared.readable_before_s[chunk].max()))
        replayed.read(chunk, HISTORY)
    for row in rows[:64]:
        replayed.timed_read(int(row), HISTORY)


def test_a_store_that_answers_with_what_was_ingested_passes(prepared: Prepared) -> None:
    for kind, together in itertools.product(("memory", "mine:Store"), (1, 50)):
        read_all(prepared, MemoryStore(), kind, together)


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (Bit, r"found \d+ as category of behaviour 1 of \d+, expected \d+"),
        (Forgets, r"found 19 behaviours, expected 20"),
        (Stranger, r"found .*, expected"),
        (Oldest, r"found \d+ as time_s of behaviour 1 of 20, expected \d+"),
        (FirstLoadOnly, r"found .*, expected"),
        (Twice, r"found .*, expected"),
    ],
)
def test_wrong_histories_are_noticed(store: type[MemoryStore], said: str, prepared: Prepared) -> None:
    with pytest.raises(PluginError, match=said) as caught:
        read_all(prepared, store(), "mine:Store")
    message = str(caught.value)
    assert "store 'mine:Store' answered request" in message
    assert f"the newest {HISTORY} behaviours of user" in message
    assert "Correct the plug-in" in message


def test_a_timed_read_is_compared_too(prepared: Prepared) -> None:
    replayed = ReplayedStore(prepared, Bit(), "mine:Store")
    replayed.ingest(1 << 60)
    (sampled, *_) = np.flatnonzero(ReadSample(prepared, "mine:Store")._chosen)
    with pytest.raises(PluginError, match="category of behaviour 1"):
        replayed.timed_read(int(sampled), HISTORY)


def test_a_built_in_store_that_answers_wrongly_is_a_defect(prepared: Prepared) -> None:
    with pytest.raises(RuntimeError, match="store 'lastn' answered request"):
        read_all(prepared, Bit(), "lastn")


def test_the_sample_is_the_seeds_and_no_other_things(prepared: Prepared) -> None:
    chosen = ReadSample(prepared, "memory")._chosen
    assert np.array_equal(chosen, ReadSample(prepared, "mine:Store")._chosen)
    expected = SHARE * len(chosen)
    assert abs(chosen.sum() - expected) < 4 * np.sqrt(expected)


def test_a_run_with_a_lying_store_ends_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lying_store.py").write_text(
        "from seqvault.memory import MemoryStore\n"
        "class Lying(MemoryStore):\n"
        "    def read_last(self, users, n, **named):\n"
        "        return super().read_last(users, n - 1, **named)\n"
        "class Memory(MemoryStore):\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("simulator.config.settings.ArmSettings.store_key", "memory")  # its times are known
    run = tmp_path / "run"
    said = call("run", *settings("arms.treatment.store=lying_store:Lying"), "--out", run, code=1)
    assert "error: store 'lying_store:Lying' answered request" in said
    assert "start again" in said
    assert "--resume" not in said
