"""Prepared reads give what `read_last` gives, whatever the store has been through since they were made."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from histories import START_S, behaviours, same

from seqvault import BEHAVIOURS, DamagedDataError, SchemaError, StoreClosedError, StoreError
from seqvault.schema import Column, HistorySchema
from seqvault.vault import SeqVault
from seqvault.vault.engine.latency import Latency
from seqvault.vault.engine.prepared import PreparedRead

EVERYONE = np.arange(9, dtype="u8")  # two of them unknown
ALL = 10**9
ASKED = (
    {},
    {"columns": ["item_id", "action"]},
    {"actions": [0, 4], "scenes": [2]},
    {"distinct": "category", "scenes": [0, 1]},
)
BOUNDS = (None, START_S + 200, START_S + 40 * np.arange(9), None)


@pytest.fixture(params=["compiled", "plain"])
def vault(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEQVAULT_PLAIN", str(int(request.param == "plain")))
    with SeqVault(tmp_path / "store", block_rows=8, seal_rows=60, background=False) as store:
        store.bulk_load(*behaviours(1, 300))
        yield store


@pytest.mark.parametrize("n", [0, 1, 7, 300, ALL])
def test_a_prepared_read_gives_what_read_last_gives(vault: SeqVault, n: int) -> None:
    for asked in ASKED:
        read = vault.prepare_last(n, **asked)
        for step, before_s in enumerate(BOUNDS):
            same(read(EVERYONE, before_s), vault.read_last(EVERYONE, n, before_s=before_s, **asked))
            vault.append(*behaviours(10 + step, 23, at_s=START_S + 90 * step))


def test_it_goes_on_through_seals_and_compaction(tmp_path: Path) -> None:
    options = {"codec": "zstd", "block_rows": 8, "background": False}
    with SeqVault(tmp_path / "store", **options) as store:
        read = store.prepare_last(50)
        changes = (store.seal, store.compact, lambda: store.compact(full=True), lambda: store.delete_user(3))
        for seed, change in enumerate(2 * changes):
            store.append(*behaviours(seed, 200))
            change()
            same(read(EVERYONE), store.read_last(EVERYONE, 50))


def test_it_follows_the_writer_and_new_columns(tmp_path: Path) -> None:
    wider = HistorySchema(BEHAVIOURS.name, 2, (*BEHAVIOURS.columns, Column("price", "u4", default=7)))
    with (
        SeqVault(tmp_path / "store", background=False) as store,
        SeqVault(tmp_path / "store", schema=wider, read_only=True, staleness_s=0) as reader,
    ):
        read = reader.prepare_last(50)
        for seed, change in enumerate((store.seal, store.compact, lambda: store.compact(full=True))):
            store.append(*behaviours(seed, 200))
            change()
            found = read(EVERYONE)
            same(found, reader.read_last(EVERYONE, 50))
            assert found.offsets[-1]
            assert set(found.columns["price"].tolist()) == {7}


@pytest.mark.parametrize(
    "users",
    [
        [3, 1, 3],
        np.array([3, 1, 3], "i4"),
        np.arange(12, dtype="u8")[::3],
        np.frombuffer(bytes(16), "u8"),
        [],
    ],
)
def test_any_users_can_be_asked_for(vault: SeqVault, users: object) -> None:
    same(vault.prepare_last(20)(users), vault.read_last(users, 20))


def test_a_read_of_users_that_numba_does_not_take_at_once_costs_no_more_than_a_copy(tmp_path: Path) -> None:
    """A search for a conversion took 100 us, beside a read of 4: a profile charged that to the store."""
    frozen, strided = EVERYONE[:4].copy(), EVERYONE[:8:2]
    frozen.setflags(write=False)
    with SeqVault(tmp_path / "store", background=False) as store:
        store.bulk_load(*behaviours(1, 300))
        read = store.prepare_last(50)

        def least_s(users: np.ndarray) -> float:
            taken = []
            for _ in range(300):
                start = time.perf_counter()
                read(users)
                taken.append(time.perf_counter() - start)
            return min(taken)

        plain = least_s(EVERYONE[:4])
        assert max(least_s(frozen), least_s(strided)) < 3 * plain


def test_the_next_call_writes_over_the_last_answer(tmp_path: Path) -> None:
    with SeqVault(tmp_path / "store") as store:
        store.append(*behaviours(1, 400))
        read = store.prepare_last(20)
        first = read(EVERYONE[:1])
        kept = first.columns["item_id"].copy()
        assert np.array_equal(first.columns["item_id"], kept)
        second = read(EVERYONE[1:2])
        assert np.shares_memory(first.columns["item_id"], second.columns["item_id"])
        assert not np.array_equal(first.columns["item_id"], kept)


def test_threads_with_a_prepared_read_each_agree_while_a_writer_writes(tmp_path: Path) -> None:
    with SeqVault(tmp_path / "store", block_rows=8, seal_rows=60, background=False) as store:
        store.bulk_load(*behaviours(1, 800))
        expected = store.read_last(EVERYONE, ALL, before_s=START_S + 400)
        failures: list[BaseException] = []

        def work() -> None:
            read = store.prepare_last(ALL)
            try:
                for _ in range(200):
                    same(read(EVERYONE, START_S + 400), expected)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for seed in range(40):
            store.append(*behaviours(seed, 20, at_s=START_S + 1000))
        for thread in threads:
            thread.join()
    assert not failures


def test_a_timed_read_is_a_batch_of_its_own(tmp_path: Path) -> None:
    with SeqVault(tmp_path / "store") as store:
        store.append(*behaviours(1, 400))
        batches = [store.timed_read_last(EVERYONE[i : i + 1], 20)[0] for i in range(9)]
        for i, batch in enumerate(batches):
            same(batch, store.read_last(EVERYONE[i : i + 1], 20))
        _, took = store.timed_read_last(EVERYONE, 20, columns=["item_id"], actions=np.array([1], "u1"))
        assert 0 < took.own_s <= took.call_s


def test_a_timed_read_refuses_what_read_last_refuses_after_its_like_was_read(tmp_path: Path) -> None:
    with SeqVault(tmp_path / "store") as store:
        good = {"n": 5, "columns": ["item_id"], "scenes": [1]}
        store.timed_read_last(EVERYONE, **good)
        for wrong in ({"n": 5.0}, {"n": [5]}, {"columns": "item_id"}, {"scenes": [[1]]}):
            for read in (store.read_last, store.timed_read_last):
                with pytest.raises(StoreError):
                    read(EVERYONE, **{**good, **wrong})


def test_damage_is_believed_only_of_the_table_there_is_now() -> None:
    def table(finds: object) -> SimpleNamespace:
        def reading(users: object, end_s: object) -> object:
            if finds is None:
                raise DamagedDataError("gone")
            return finds

        return SimpleNamespace(hot=None, reader=SimpleNamespace(prepare=lambda _query: reading))

    tables = iter([*(table(None) for _ in range(5)), table("found")])
    now = [next(tables)]

    def replaced_each_time() -> SimpleNamespace:
        now[0] = next(tables, now[0])
        return now[0]

    latency = Latency()
    assert PreparedRead(replaced_each_time, lambda _table: None, latency)(EVERYONE) == "found"
    assert latency.errors == 0
    damaged = table(None)
    with pytest.raises(DamagedDataError):
        PreparedRead(lambda: damaged, lambda _table: None, latency)(EVERYONE)
    assert latency.errors == 1


def test_wrong_arguments_and_closed_stores_are_refused(vault: SeqVault) -> None:
    with pytest.raises(SchemaError, match="distinct='price'"):
        vault.prepare_last(5, distinct="price")
    read = vault.prepare_last(5)
    with pytest.raises(SchemaError, match="expected non-negative integers"):
        read([-1])
    with pytest.raises(SchemaError, match="expected a number of seconds"):
        read(EVERYONE, "soon")
    vault.close()
    with pytest.raises(StoreClosedError, match="open it again"):
        read(EVERYONE)
