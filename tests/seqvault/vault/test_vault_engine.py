"""The durable engine: random operations against the memory store, and the promises of its parts."""

import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from histories import START_S, behaviours, numbered, same
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from seqvault import BEHAVIOURS, DamagedDataError, SchemaError, StoreError, StoreReadOnlyError
from seqvault.memory import MemoryStore
from seqvault.schema import Column, HistorySchema, SequenceType
from seqvault.vault import SeqVault
from seqvault.vault.disk import files
from seqvault.vault.disk.segment import Segment

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
EVERYONE = np.arange(6)
ALL = 10**9
VISITS = HistorySchema("visits", 1, (Column("time_s", "i8", "s"), Column("item_id", "u8")))
# Random behaviours may have expired when they come.
LATE = pytest.mark.filterwarnings("ignore::seqvault.ExpiredWarning")
SMALL: dict[str, int] = {"block_rows": 8, "seal_rows": 60}


def grown(schema: HistorySchema, version: int) -> HistorySchema:
    """The next version: without the column the last one added, with another."""
    kept = tuple(column for column in schema.columns if not column.name.startswith("extra"))
    added = Column(f"extra_{version}", "i4", default=-version)
    return HistorySchema(schema.name, version, (*kept, added))


class AgainstMemory(RuleBasedStateMachine):
    """A vault of two sequences, a reader that follows it, and the oracle get the same changes."""

    @initialize(cap=st.none() | st.integers(1, 60))
    def start(self, cap: int | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vault-", dir=MEMORY))
        self.schema = BEHAVIOURS
        self.cap = cap
        self.store = self.open()
        self.oracle = MemoryStore(sequences=self.kinds())
        self.reader = SeqVault(self.folder, read_only=True, schema=None, staleness_s=0)
        self.batches: list[int] = []
        self.floors: dict[str, int] = {}
        self.snapshots = 0

    def kinds(self) -> tuple[SequenceType, ...]:
        return (SequenceType("behaviours", self.schema), SequenceType("visits", VISITS, cap=self.cap))

    def open(self) -> SeqVault:
        return SeqVault(self.folder, sequences=self.kinds(), background=False, **SMALL)

    def rows(self, seed: int, count: int, late: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        users, columns = behaviours(
            seed, count, users=5, span_s=300 if late else 40, at_s=START_S + seed % 300
        )
        for column in self.schema.columns:
            if column.name not in columns:
                columns[column.name] = np.arange(count)
        return users, {name: columns[name] for name in self.schema.names}

    @rule(seed=st.integers(0, 10**6), count=st.integers(1, 40), late=st.booleans(), mode=st.integers(0, 2))
    def write(self, seed: int, count: int, late: bool, mode: int) -> None:
        rows = self.rows(seed, count, late)
        if mode == 2:
            self.store.bulk_load(*rows)
        else:
            self.store.append(*rows, durability=("sync", "async")[mode])
        self.oracle.append(*rows)

    @rule(seed=st.integers(0, 10**6), count=st.integers(1, 60))
    def visit(self, seed: int, count: int) -> None:
        users, columns = behaviours(seed, count, users=5, at_s=START_S)
        columns = {name: columns[name] for name in VISITS.names}
        self.store.append(users, columns, sequence="visits")
        self.oracle.append(users, columns, sequence="visits")

    @rule(batch=st.integers(0, 9), seed=st.integers(0, 10**6), load=st.booleans())
    def write_batch(self, batch: int, seed: int, load: bool) -> None:
        rows = self.rows(seed, 5, False)
        written = (self.store.bulk_load if load else self.store.append)(*rows, batch_id=batch)
        assert written == (batch not in self.batches)
        if written:
            self.batches.append(batch)
            self.oracle.append(*rows)

    @rule(user=st.integers(0, 5))
    def delete_user(self, user: int) -> None:
        self.store.delete_user(user)
        self.oracle.delete_user(user)

    @rule(age_s=st.integers(-20, 320), sequence=st.sampled_from([None, "visits"]))
    def expire(self, age_s: int, sequence: str | None) -> None:
        self.store.expire(START_S + age_s, sequence, force=True)
        self.oracle.expire(START_S + age_s, sequence=sequence, force=True)
        name = sequence or "behaviours"
        self.floors[name] = max(self.floors.get(name, START_S + age_s), START_S + age_s)

    @rule(what=st.sampled_from(["seal", "compact", "full", "maintain"]))
    def tidy(self, what: str) -> None:
        if what == "full":
            self.store.compact(full=True)
        else:
            getattr(self.store, what)()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    @precondition(lambda self: self.schema.version < 4)
    @rule()
    def evolve(self) -> None:
        self.store.close()
        self.schema = grown(self.schema, self.schema.version + 1)
        self.store = self.open()
        old, self.oracle = self.oracle, MemoryStore(sequences=self.kinds())
        for sequence in ("behaviours", "visits"):
            batch = old.read_last(EVERYONE, ALL, sequence=sequence)
            columns = dict(batch.columns)
            if sequence == "behaviours":
                for column in self.schema.columns:
                    columns.setdefault(column.name, np.full(len(columns["time_s"]), column.default))
                columns = {name: columns[name] for name in self.schema.names}
            self.oracle.append(np.repeat(EVERYONE, batch.lengths), columns, sequence=sequence)
            if sequence in self.floors:
                self.oracle.expire(self.floors[sequence], sequence=sequence, force=True)
        self.reader.close()
        self.reader = SeqVault(self.folder, read_only=True, schema=None, staleness_s=0)

    @rule()
    def snapshot(self) -> None:
        self.snapshots += 1
        target = self.folder.with_name(f"{self.folder.name}-{self.snapshots}")
        self.store.flush()
        self.store.snapshot(target)
        with SeqVault(target, schema=None) as copy:
            same(copy.read_last(EVERYONE, ALL), self.oracle.read_last(EVERYONE, ALL))
        shutil.rmtree(target)

    @rule(n=st.integers(1, 100), sequence=st.sampled_from([None, "visits"]))
    def read(self, n: int, sequence: str | None) -> None:
        expected = self.oracle.read_last(EVERYONE, n, sequence=sequence)
        same(self.store.read_last(EVERYONE, n, sequence=sequence), expected)
        same(self.reader.read_last(EVERYONE, n, sequence=sequence), expected)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.read(ALL, None)
            self.read(ALL, "visits")
            self.store.close()
            with self.open() as store:
                same(store.read_last(EVERYONE, ALL), self.oracle.read_last(EVERYONE, ALL))
            self.reader.close()
            shutil.rmtree(self.folder)


def run(examples: int) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        AgainstMemory,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            suppress_health_check=checks,
            database=None,
        ),
    )


@LATE
def test_random_changes_agree_with_the_oracle() -> None:
    run(25)


@LATE
@pytest.mark.slow
def test_many_random_changes_agree_with_the_oracle() -> None:
    run(1000)


def test_deleted_users_bytes_are_in_no_file_after_full_compaction(tmp_path: Path) -> None:
    marker = 0xDEAD_BEEF_1234_5678
    user = 0xFEED_FACE_8765_4321
    users = np.array([user, 1, user, 2], "u8")
    columns = numbered([0] * 4, [1, 2, 3, 4])[1]
    columns["item_id"] = np.array([marker, 1, marker, 2], "u8")
    with SeqVault(tmp_path) as store:
        store.append(users, columns)
        store.seal()
        store.append(users, columns)
        store.delete_user(user)
    with SeqVault(tmp_path) as store:
        assert store.read_last(users[:1], 9).lengths.tolist() == [0]
        store.compact(full=True)
        assert store.users().tolist() == [1, 2]
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        assert marker.to_bytes(8, "little") not in data
        assert user.to_bytes(8, "little") not in data


def test_tombstone_outlives_a_compaction_that_leaves_older_segments_alone(tmp_path: Path) -> None:
    with SeqVault(tmp_path, background=False, **SMALL) as store:
        for first in range(0, 60, 20):
            store.append(*numbered([7] * 20, list(range(first, first + 20)), first))
            store.seal()
        store.delete_user(7)
        store.append(*numbered([8], [1]))
        store.seal()
        compactor = store._access.compactor  # type: ignore[union-attr]
        table = store._access.state.tables[0]
        compactor._compact(table, compactor._segments(table)[2:], first=False)
    with SeqVault(tmp_path) as store:
        assert store.users().tolist() == [8]


def test_sequence_cap_is_what_is_read_and_what_compaction_keeps(tmp_path: Path) -> None:
    with SeqVault(tmp_path, sequences=[SequenceType("behaviours", BEHAVIOURS, cap=30)], **SMALL) as store:
        store.append(*numbered([1] * 100, list(range(100))))
        assert store.read_last([1], 99).columns["time_s"].tolist() == list(range(70, 100))
        store.compact(full=True)
        assert store.stats()["behaviours"] == 30
        assert store.read_last([1], 99).columns["time_s"].tolist() == list(range(70, 100))


def test_ttl_is_applied_by_the_time_maintenance_is_given(tmp_path: Path) -> None:
    with SeqVault(tmp_path, sequences=[SequenceType("behaviours", BEHAVIOURS, ttl_s=10)], **SMALL) as store:
        store.append(*numbered([1] * 50, list(range(50))))
        store.maintain(now_s=40)
        assert store.read_last([1], 99).columns["time_s"].tolist() == list(range(30, 50))
    with SeqVault(tmp_path) as store:
        assert store.read_last([1], 1).lengths.tolist() == [1]
        store.compact(now_s=55, full=True)
        assert store.stats()["behaviours"] == 5


def test_older_schema_and_changed_columns_are_refused(tmp_path: Path) -> None:
    second = grown(BEHAVIOURS, 2)
    SeqVault(tmp_path, schema=second).close()
    with pytest.raises(SchemaError, match="was made with schema"):
        SeqVault(tmp_path)
    with pytest.raises(SchemaError, match="was made with schema"):
        SeqVault(tmp_path, read_only=True)
    third = HistorySchema("behaviours", 3, (*BEHAVIOURS.columns, Column("extra_2", "i4", default=5)))
    with pytest.raises(SchemaError, match="keeps its dtype and its default"):
        SeqVault(tmp_path, schema=third)
    SeqVault(tmp_path, schema=grown(second, 3)).close()
    fourth = HistorySchema("behaviours", 4, (*BEHAVIOURS.columns, second.columns[-1]))
    with pytest.raises(SchemaError, match="cannot bring the name back"):
        SeqVault(tmp_path, schema=fourth)
    with SeqVault(tmp_path, schema=None, read_only=True) as reader:
        assert reader.schema.version == 3


class Device(files.FileIO):
    """Counts syncs, or fails them."""

    def __init__(self) -> None:
        self.syncs = 0
        self.gate: threading.Event | None = None

    def fdatasync(self, fd: int) -> None:
        self.syncs += 1
        if self.gate is not None:
            self.gate.wait()
        super().fdatasync(fd)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    monkeypatch.setattr(files, "io", device)
    return device


def test_appends_of_several_threads_share_a_sync(tmp_path: Path, device: Device) -> None:
    with SeqVault(tmp_path) as store:
        device.gate, before = threading.Event(), device.syncs
        rows = [numbered([user], [user], user) for user in range(8)]
        threads = [threading.Thread(target=store.append, args=row) for row in rows]
        try:
            threads[0].start()
            while device.syncs == before:
                time.sleep(0.001)
            for thread in threads[1:]:
                thread.start()
            # All wait before the first sync returns; none is readable.
            while store._access.writer._commit.last < 8:  # type: ignore[union-attr]
                time.sleep(0.001)
            assert store.read_last(np.arange(8), 9).lengths.sum() == 0
            assert store.durable_sequence == 0
        finally:
            device.gate.set()
        for thread in threads:
            thread.join()
        assert device.syncs - before == 2
        assert store.durable_sequence == 8
        assert store.read_last(np.arange(8), 9).lengths.tolist() == [1] * 8


def test_async_append_is_readable_at_once_and_durable_within_the_interval(
    tmp_path: Path, device: Device
) -> None:
    with SeqVault(tmp_path, durability="async", flush_interval_s=0.01) as store:
        device.gate = threading.Event()
        try:
            store.append(*numbered([1], [1]))
            assert store.read_last([1], 9).lengths.tolist() == [1]
            assert store.durable_sequence == 0
        finally:
            device.gate.set()
        store.flush()
        assert store.durable_sequence == 1


def test_later_records_that_outlived_an_earlier_unsynced_one_do_not_make_damage(tmp_path: Path) -> None:
    with SeqVault(tmp_path, durability="async", flush_interval_s=60, flush_rows=10**6) as store:
        ends = []
        for first in range(4):
            store.append(*numbered([1], [first], first))
            ends.append(store._access.log_end)
        kept = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    (name,) = (name for name in kept if name.startswith("wal"))
    torn = bytearray(kept[name])
    torn[ends[0] : ends[0] + 512] = bytes(min(512, ends[1] - ends[0])) + torn[ends[1] : ends[0] + 512]
    for file in tmp_path.iterdir():
        file.unlink()
    for other, data in {**kept, name: bytes(torn)}.items():
        (tmp_path / other).write_bytes(data)
    for item in (7, 8):
        with SeqVault(tmp_path) as store:
            store.append(*numbered([1], [item], item))
    with SeqVault(tmp_path) as store:
        # What lay behind the tear never comes back, whatever is appended.
        assert store.read_last([1], 9).columns["item_id"].tolist() == [0, 7, 8]


def test_reader_sees_what_was_acknowledged_staleness_s_before(tmp_path: Path) -> None:
    with SeqVault(tmp_path) as writer, SeqVault(tmp_path, read_only=True, staleness_s=0) as reader:
        for first in range(5):
            writer.append(*numbered([1], [first], first))
            assert reader.read_last([1], 9).lengths.tolist() == [first + 1]
        assert reader.durable_sequence == 5
        with pytest.raises(StoreReadOnlyError, match="read-only"):
            reader.flush()


def test_batches_are_remembered_across_seals_and_reopening(tmp_path: Path) -> None:
    with SeqVault(tmp_path) as store:
        assert store.append(*numbered([1], [1]), batch_id=2**64 - 1)
        assert store.bulk_load(*numbered([1], [2], 1), batch_id=5)
    with SeqVault(tmp_path) as store:
        assert not store.append(*numbered([1], [1]), batch_id=2**64 - 1)
        assert not store.append(*numbered([1], [2]), batch_id=5)
        store.seal()
        assert not store.append(*numbered([1], [2]), batch_id=5)
        assert store.read_last([1], 9).lengths.tolist() == [2]
        with pytest.raises(StoreError, match="batch_id=-1"):
            store.append(*numbered([1], [2]), batch_id=-1)


def test_read_only_arrays_are_appended(tmp_path: Path) -> None:
    users, columns = behaviours(0, 20)
    arrays = {name: np.asarray(values, BEHAVIOURS.dtype(name)) for name, values in columns.items()}
    users = users.astype("u8")
    for values in (users, *arrays.values()):
        values.setflags(write=False)
    with SeqVault(tmp_path) as store:
        store.append(users, arrays)
        store.bulk_load(users, arrays)
        assert store.stats()["behaviours"] == 40


def test_locate_names_the_bytes_a_read_fetches(tmp_path: Path) -> None:
    with SeqVault(tmp_path, **SMALL) as store:
        store.bulk_load(*numbered([1] * 20, list(range(20))))
        places = store.locate(1, 9)
        assert len(places) == 2
        for path, offset, size in places:
            assert path.read_bytes()[offset : offset + 4] == b"SVB2"
            assert offset + size <= path.stat().st_size
        assert store.locate(2, 9) == []


def test_full_compaction_cuts_short_newest_blocks_and_leaves_the_odd_one_to_the_oldest(tmp_path: Path):
    with SeqVault(tmp_path / "store", block_rows=8, background=False) as store:
        for user, rows in ((1, 3), (2, 4), (3, 20), (4, 41)):
            store.append(*numbered([user] * rows, list(range(rows))))
        store.compact(full=True)
        index = store._table(None).index
        sizes = {user: index.blocks_of(user)["rows"].tolist() for user in range(1, 5)}
    assert sizes == {1: [3], 2: [4], 3: [16, 4], 4: [5, 16, 16, 4]}


@pytest.mark.parametrize("full", [False, True], ids=["merge", "full"])
@pytest.mark.parametrize("fails_at", range(4))
def test_a_compaction_that_cannot_read_what_it_wrote_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool, fails_at: int
) -> None:
    store, oracle = SeqVault(tmp_path, background=False), MemoryStore()
    for seed in range(3):
        for each in (store, oracle):
            each.append(*behaviours(seed, 40))
        store.seal()
    entries, calls = Segment.entries, iter(range(100))

    def failing(segment: Segment) -> Any:
        if next(calls) == fails_at:
            raise DamagedDataError("Input/output error")
        return entries(segment)

    monkeypatch.setattr(Segment, "entries", failing)
    with suppress(DamagedDataError):
        store.compact(full=full)
    monkeypatch.setattr(Segment, "entries", entries)
    same(store.read_last(EVERYONE, ALL), oracle.read_last(EVERYONE, ALL))
    store.append(*behaviours(9, 5))
    oracle.append(*behaviours(9, 5))
    store.compact(full=full)
    store.close()
    with SeqVault(tmp_path) as found:
        same(found.read_last(EVERYONE, ALL), oracle.read_last(EVERYONE, ALL))
