"""What every store kind promises, checked against the dict oracle."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from histories import DURABLE, KINDS, START_S, behaviours, numbered, open_kind, same

from seqvault import (
    HistoryStore,
    SchemaError,
    StoreClosedError,
    StoreError,
    StoreLockedError,
    StoreReadOnlyError,
    open_store,
)
from seqvault.memory import MemoryStore
from seqvault.schema import BEHAVIOURS, Column, HistorySchema

EVERYONE = np.arange(9)  # two of them unknown
BOUNDS = (None, START_S - 1, START_S + 1, START_S + 200, START_S + 10_000, START_S + 40 * np.arange(9))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def store(kind: str, tmp_path: Path):
    with open_kind(kind, tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def filled(store: HistoryStore) -> tuple[HistoryStore, MemoryStore]:
    """The store and the oracle after a bulk load and appends, the later ones partly late."""
    oracle = MemoryStore()
    user_ids, columns = behaviours(1, 2500)
    store.bulk_load(user_ids, columns)
    oracle.append(user_ids, columns)
    for seed in range(2, 12):
        user_ids, columns = behaviours(seed, 23, at_s=START_S + 30 * seed)
        store.append(user_ids, columns)
        oracle.append(user_ids, columns)
    return store, oracle


@pytest.mark.parametrize("n", [0, 1, 7, 256, 300, 100_000])
def test_last_n_agrees_with_oracle(filled: tuple[HistoryStore, MemoryStore], n: int) -> None:
    store, oracle = filled
    for before_s in BOUNDS:
        for scenes in (None, [1], [0, 2], [9]):
            same(
                store.read_last(EVERYONE, n, before_s=before_s, scenes=scenes),
                oracle.read_last(EVERYONE, n, before_s=before_s, scenes=scenes),
            )


def test_range_agrees_with_oracle(filled: tuple[HistoryStore, MemoryStore]) -> None:
    store, oracle = filled
    for start_s, end_s in ((0, 1 << 40), (START_S + 50, START_S + 60), (START_S, START_S), (9, 3)):
        for scenes in (None, [2]):
            same(
                store.read_range(EVERYONE, start_s, end_s, scenes=scenes),
                oracle.read_range(EVERYONE, start_s, end_s, scenes=scenes),
            )


@pytest.mark.parametrize("columns", [["item_id"], ["dwell_s", "time_s"], ["scene"]])
def test_projection_returns_only_chosen_columns(
    filled: tuple[HistoryStore, MemoryStore], columns: list[str]
) -> None:
    store, oracle = filled
    for before_s in (None, START_S + 200):
        found = store.read_last(EVERYONE, 50, before_s=before_s, columns=columns, scenes=[1])
        assert list(found.columns) == columns
        same(found, oracle.read_last(EVERYONE, 50, before_s=before_s, columns=columns, scenes=[1]))
    same(
        store.read_range(EVERYONE, START_S, START_S + 99, columns=columns),
        oracle.read_range(EVERYONE, START_S, START_S + 99, columns=columns),
    )


def test_user_asked_for_twice_is_answered_twice(filled: tuple[HistoryStore, MemoryStore]) -> None:
    store, oracle = filled
    users, bounds = [3, 3, 0, 3], [START_S + 10, START_S + 300, START_S, START_S + 10]
    same(store.read_last(users, 20, before_s=bounds), oracle.read_last(users, 20, before_s=bounds))


def test_unknown_user_and_no_user_have_empty_histories(store: HistoryStore) -> None:
    found = store.read_last(np.array([5, 2**64 - 1], "u8"), 10)
    assert found.lengths.tolist() == [0, 0]
    assert [values.dtype.str[1:] for values in found.columns.values()] == ["i8", "u8", "u2", "u1", "u1", "u2"]
    assert len(store.read_last([], 10)) == 0
    assert len(store.read_range([], 0, 10)) == 0


def test_equal_times_keep_arrival_order(store: HistoryStore) -> None:
    for first in range(0, 600, 100):
        store.append(*numbered([4] * 100, [START_S] * 100, first))
    assert store.read_last([4], 600).columns["item_id"].tolist() == list(range(600))
    assert store.read_last([4], 3).columns["item_id"].tolist() == [597, 598, 599]


def test_late_behaviours_are_merged_by_time_then_arrival(store: HistoryStore) -> None:
    store.append(*numbered([1, 1, 1], [START_S, START_S + 10, START_S + 20]))
    store.append(*numbered([1, 1, 1], [START_S + 10, START_S + 30, START_S + 5], first=3))
    found = store.read_last([1], 10)
    assert found.columns["item_id"].tolist() == [0, 5, 1, 3, 2, 4]
    assert np.all(np.diff(found.columns["time_s"]) >= 0)
    assert store.read_last([1], 2, before_s=START_S + 20).columns["item_id"].tolist() == [1, 3]


def test_extreme_users_times_and_values_survive(store: HistoryStore) -> None:
    limits = {c.name: np.iinfo(c.dtype) for c in BEHAVIOURS.columns}
    columns = {name: np.array([limit.min, 0, limit.max], f"{limit.dtype}") for name, limit in limits.items()}
    users = np.array([2**64 - 1] * 3, "u8")
    oracle = MemoryStore()
    for target in (store, oracle):
        target.append(users, columns)
        target.append(users[:1], {name: values[:1] for name, values in columns.items()})
    same(store.read_last(users[:1], 2), oracle.read_last(users[:1], 2))
    same(store.read_range(users[:1], -(2**63), 1), oracle.read_range(users[:1], -(2**63), 1))


@pytest.mark.parametrize("durable", DURABLE)
def test_reopened_store_holds_everything(durable: str, tmp_path: Path) -> None:
    oracle = MemoryStore()
    for seed in range(6):
        with open_kind(durable, tmp_path) as store:
            user_ids, columns = behaviours(seed, 150)
            (store.bulk_load if seed % 3 == 0 else store.append)(user_ids, columns)
        oracle.append(user_ids, columns)
        with open_kind(durable, tmp_path, read_only=True) as reader:
            same(reader.read_last(EVERYONE, 10_000), oracle.read_last(EVERYONE, 10_000))
            assert reader.stats()["behaviours"] == 150 * (seed + 1)
            assert reader.stats()["users"] == 7


@pytest.mark.parametrize("durable", DURABLE)
def test_second_writer_is_refused(durable: str, tmp_path: Path) -> None:
    with open_kind(durable, tmp_path) as store:
        store.append(*behaviours(0, 5))
        with pytest.raises(StoreLockedError, match="open for writing elsewhere"):
            open_kind(durable, tmp_path)
    open_kind(durable, tmp_path).close()


@pytest.mark.parametrize("durable", DURABLE)
def test_read_only_store_refuses_writes(durable: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="read_only=False to make one"):
        open_kind(durable, tmp_path / "none", read_only=True)
    open_kind(durable, tmp_path).close()
    with open_kind(durable, tmp_path, read_only=True) as reader:
        for write in (reader.append, reader.bulk_load):
            with pytest.raises(StoreReadOnlyError, match="read-only"):
                write(*behaviours(0, 5))


@pytest.mark.parametrize("durable", DURABLE)
def test_other_schema_is_refused(durable: str, tmp_path: Path) -> None:
    open_kind(durable, tmp_path).close()
    other = HistorySchema("behaviours", 2, (Column("time_s", "i8", "s"), Column("item_id", "u4")))
    with pytest.raises(SchemaError, match="was made with schema"):
        open_kind(durable, tmp_path, schema=other)


def test_schema_of_one_own_works_in_every_kind(kind: str, tmp_path: Path) -> None:
    signed = HistorySchema("sparse", 1, (Column("time_s", "i8", "s"), Column("score", "i4")))
    columns = {"time_s": [5, 3, 9], "score": [-7, 2**31 - 1, -(2**31)]}
    with open_kind(kind, tmp_path, schema=signed) as store:
        store.append([1, 1, 1], columns)
        assert store.read_last([1], 9).columns["score"].tolist() == [2**31 - 1, -7, -(2**31)]
        with pytest.raises(SchemaError, match="no column 'scene'"):
            store.read_last([1], 9, scenes=[1])


def test_closed_store_says_so(kind: str, tmp_path: Path) -> None:
    store = open_kind(kind, tmp_path)
    store.close()
    store.close()
    for use in (store.stats, lambda: store.read_last([1], 1), lambda: store.append(*behaviours(0, 1))):
        with pytest.raises(StoreClosedError, match="closed"):
            use()


def test_bad_arguments_are_refused(store: HistoryStore) -> None:
    user_ids, columns = behaviours(0, 3)
    with pytest.raises(SchemaError, match="expected exactly"):
        store.append(user_ids, {"time_s": columns["time_s"]})
    with pytest.raises(SchemaError, match="expected within 0"):
        store.append(user_ids, {**columns, "action": [1, 2, 256]})
    with pytest.raises(SchemaError, match="rows"):
        store.append(user_ids[:2], columns)
    with pytest.raises(SchemaError, match="integers"):
        store.append(user_ids, {**columns, "dwell_s": [0.5, 1.5, 2.5]})
    with pytest.raises(SchemaError, match="unknown columns"):
        store.read_last([1], 1, columns=["price"])
    with pytest.raises(StoreError, match="n=-1"):
        store.read_last([1], -1)
    with pytest.raises(SchemaError, match="before_s"):
        store.read_last([1, 2], 1, before_s=[1, 2, 3])
    with pytest.raises(SchemaError, match="non-negative"):
        store.read_last([-1], 1)
    assert store.stats()["behaviours"] == 0


def test_store_neither_keeps_nor_hands_out_callers_arrays(store: HistoryStore) -> None:
    user_ids, columns = behaviours(0, 40)
    columns = {name: np.ascontiguousarray(v, BEHAVIOURS.dtype(name)) for name, v in columns.items()}
    store.append(user_ids, columns)
    before = store.read_last(EVERYONE, 99)
    expected = {name: values.copy() for name, values in before.columns.items()}
    for values in (*columns.values(), *before.columns.values()):
        values[:] = 0
    for name, values in store.read_last(EVERYONE, 99).columns.items():
        np.testing.assert_array_equal(values, expected[name])


def test_unknown_kind_layout_and_option_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unknown store kind 'lmdb'"):
        open_store("lmdb", tmp_path)
    with pytest.raises(StoreError, match="cannot be imported"):
        open_store("seqvault.nowhere:Store", tmp_path)
    with pytest.raises(StoreError, match="colour"):
        open_store("seqvault", tmp_path, colour="red")
    with pytest.raises(StoreError, match="expected 'chunks', 'behaviours' or 'blobs'"):
        open_store("lastn", tmp_path, layout="blob")
    open_store("lastn", tmp_path / "lastn").close()
    with pytest.raises(StoreError, match="layout 'chunks'"):
        open_store("lastn", tmp_path / "lastn", layout="behaviours")


def test_dotted_path_opens_a_store(tmp_path: Path) -> None:
    with open_store("seqvault.memory:MemoryStore", tmp_path) as store:
        assert isinstance(store, HistoryStore)


def test_own_time_is_within_the_call_and_grows_with_n(kind: str, tmp_path: Path) -> None:
    rows = 20_000
    with open_kind(kind, tmp_path) as store:
        store.bulk_load(*numbered([1] * rows, list(range(rows))))
        batch, _ = store.timed_read_last([1], 5)
        assert batch.columns["item_id"].tolist() == list(range(rows - 5, rows))
        # The least of each: a busy machine only ever adds.
        least = dict.fromkeys((50, rows), float("inf"))
        for _, n in product(range(15), least):
            spent = store.timed_read_last([1], n)[1]
            assert 0 < spent.own_s <= spent.call_s
            least[n] = min(least[n], spent.own_s)
        assert least[rows] > least[50]
