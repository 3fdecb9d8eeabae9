"""Filters, distinct values and bounds of reads: each kind beside the oracle, it beside plain Python."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from histories import KINDS, START_S, behaviours, numbered, open_kind, same

from seqvault import Columns, ExpiredWarning, HistoryBatch, HistoryStore, SchemaError, StoreError
from seqvault.memory import MemoryStore
from seqvault.schema import BEHAVIOURS, Column, HistorySchema, SequenceType

EVERYONE = np.arange(9)  # two of them unknown
LAST_S = 2**63 - 1
FILTERS = (
    {"actions": [1]},
    {"actions": [0, 4], "scenes": [2]},
    {"actions": [9]},
    {"actions": []},
    {"distinct": "item_id"},
    {"distinct": "category", "scenes": [0, 1]},
    {"distinct": "time_s"},
    {"distinct": "action", "actions": [1, 2, 3]},
)
Filled = tuple[HistoryStore, MemoryStore]


def repeated(seed: int, rows: int, at_s: int = START_S) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Behaviours with few distinct items, many equal times."""
    user_ids, columns = behaviours(seed, rows, at_s=at_s)
    columns["item_id"] = columns["item_id"] % 40
    columns["category"] = columns["category"] % 12
    return user_ids, columns


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def filled(kind: str, tmp_path: Path):
    """A store and the oracle after a bulk load and appends, the later ones partly late."""
    oracle = MemoryStore()
    with open_kind(kind, tmp_path / "store") as store:
        store.bulk_load(*repeated(1, 2000))
        oracle.bulk_load(*repeated(1, 2000))
        for seed in range(2, 9):
            for target in (store, oracle):
                target.append(*repeated(seed, 31, START_S + 40 * seed))
        yield store, oracle


@pytest.mark.parametrize("n", [0, 1, 7, 60, 100_000])
def test_filtered_last_n_agrees_with_oracle(filled: Filled, n: int) -> None:
    store, oracle = filled
    bounds = (None, START_S + 200, START_S + 40 * np.arange(9))
    projections = (None, ["dwell_s"], ["time_s", "item_id"])
    for chosen, before_s, columns in product(FILTERS, bounds, projections):
        same(
            store.read_last(EVERYONE, n, before_s=before_s, columns=columns, **chosen),
            oracle.read_last(EVERYONE, n, before_s=before_s, columns=columns, **chosen),
        )


def test_filtered_range_agrees_with_oracle(filled: Filled) -> None:
    store, oracle = filled
    for chosen, columns in product(FILTERS, (None, ["category", "dwell_s"])):
        for start_s, end_s in ((0, LAST_S), (START_S + 50, START_S + 260), (START_S, START_S), (9, 3)):
            same(
                store.read_range(EVERYONE, start_s, end_s, columns=columns, **chosen),
                oracle.read_range(EVERYONE, start_s, end_s, columns=columns, **chosen),
            )


def test_timed_read_filters_as_the_untimed(filled: Filled) -> None:
    store, oracle = filled
    chosen = {"actions": [1, 2], "scenes": [0, 2], "distinct": "item_id", "before_s": START_S + 300}
    found, spent = store.timed_read_last(EVERYONE, 20, **chosen)
    same(found, oracle.read_last(EVERYONE, 20, **chosen))
    assert 0 < spent.own_s <= spent.call_s


def test_timed_reads_that_differ_in_the_name_of_a_filter_alone_are_not_confused(filled: Filled) -> None:
    store, oracle = filled
    for chosen in (
        {"scenes": [1]},
        {"actions": [1]},
        {"scenes": [1], "actions": [2]},
        {"scenes": [2], "actions": [1]},
    ):
        same(store.timed_read_last(EVERYONE, 20, **chosen)[0], oracle.read_last(EVERYONE, 20, **chosen))


def test_distinct_keeps_newest_occurrence_after_filters_and_before_n_is_counted(
    kind: str, tmp_path: Path
) -> None:
    user_ids, columns = numbered([5] * 8, [START_S + t for t in (0, 1, 2, 3, 4, 4, 5, 6)])
    columns["item_id"] = np.array([7, 8, 7, 9, 8, 8, 9, 7])
    columns["action"] = np.array([1, 1, 1, 1, 1, 1, 0, 0])
    columns["dwell_s"] = np.arange(8)
    with open_kind(kind, tmp_path) as store:
        store.append(user_ids, columns)

        def read(n: int, **chosen: object) -> list[int]:
            return store.read_last([5], n, columns=["dwell_s"], **chosen).columns["dwell_s"].tolist()  # type: ignore[arg-type]

        assert read(9, distinct="item_id") == [5, 6, 7]
        assert read(2, distinct="item_id") == [6, 7]
        # Of equal times the later arrival is the newer; without the filter rows 6 and 7 would be the newest.
        assert read(9, distinct="item_id", actions=[1]) == [2, 3, 5]
        assert read(9, distinct="item_id", before_s=START_S + 4) == [1, 2, 3]
        assert read(1, distinct="action") == [7]


def test_history_is_distinguished_by_every_value_of_a_wide_column(kind: str, tmp_path: Path) -> None:
    user_ids, columns = numbered([5] * 6, [START_S] * 6)
    columns["item_id"] = np.array([0, 2**64 - 1, 1, 2**63, 0, 2**64 - 1], "u8")
    columns["dwell_s"] = np.arange(6)
    with open_kind(kind, tmp_path) as store:
        store.append(user_ids, columns)
        found = store.read_last([5], 9, distinct="item_id", columns=["dwell_s"])
        assert found.columns["dwell_s"].tolist() == [2, 3, 4, 5]


def test_bounds_of_time_are_whole_seconds_rounded_up_and_the_last_is_none(kind: str, tmp_path: Path) -> None:
    times = [-(2**63), 3, 4, LAST_S - 1, LAST_S]
    with open_kind(kind, tmp_path) as store:
        store.append(*numbered([1] * 5, times))

        def times_of(batch: HistoryBatch) -> list[int]:
            return batch.columns["time_s"].tolist()

        for end in (3.5, 4, np.float32(3.25), [3.5], np.array([4], "u8")):
            assert times_of(store.read_last([1], 9, before_s=end)) == times[:2]
        for no_bound in (None, LAST_S, 2**64, float("inf"), [float("inf")], np.array([2**64 - 1], "u8")):
            assert times_of(store.read_last([1], 9, before_s=no_bound)) == times
        assert times_of(store.read_last([1], 9, before_s=LAST_S - 1)) == times[:3]
        assert times_of(store.read_last([1], 9, before_s=-float("inf"))) == []
        assert times_of(store.read_range([1], 3.5, LAST_S)) == times[2:]
        assert times_of(store.read_range([1], -(2**80), 2**80)) == times
        assert times_of(store.read_range([1], 4, LAST_S - 1)) == [4]


def test_arguments_that_no_store_understands_are_refused(kind: str, tmp_path: Path) -> None:
    small = HistorySchema("sparse", 1, (Column("time_s", "i8", "s"), Column("score", "i4")))
    with open_kind(kind, tmp_path / "small", schema=small) as store:
        store.append([1, 1], {"time_s": [1, 2], "score": [-1, -1]})
        assert store.read_last([1], 9, distinct="score").columns["time_s"].tolist() == [2]
        with pytest.raises(SchemaError, match="no column 'action'"):
            store.read_last([1], 9, actions=[1])
    refused: tuple[tuple[dict[str, object], str], ...] = (
        ({"distinct": "price"}, "distinct='price'"),
        ({"actions": [256]}, "actions span 256"),
        ({"actions": [-1]}, "actions span -1"),
        ({"scenes": ["feed"]}, "scenes="),
        ({"actions": [0.5]}, "actions="),
        ({"before_s": float("nan")}, "no time"),
        ({"before_s": "yesterday"}, "is no time"),
        ({"sequence": "orders"}, "sequence"),
    )
    with open_kind(kind, tmp_path / "store") as store:
        for chosen, message in refused:
            with pytest.raises(StoreError, match=message):
                store.read_last([1], 1, **chosen)  # type: ignore[arg-type]
            with pytest.raises(StoreError, match=message):
                store.timed_read_last([1], 1, **chosen)  # type: ignore[arg-type]
        for bounds in ((float("nan"), 1), (0, float("nan")), ("a", 1)):
            with pytest.raises(StoreError, match="time"):
                store.read_range([1], *bounds)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="whole number"):
            store.read_last([1], 1.5)  # type: ignore[arg-type]


def plainly(history: list[dict[str, int]], start_s: int, end_s: int, n: int, chosen: dict) -> list[dict]:
    """What a read returns of one history in order, by the words of HistoryStore."""
    rows = [row for row in history if start_s <= row["time_s"] < end_s]
    for name, codes in (("scene", chosen.get("scenes")), ("action", chosen.get("actions"))):
        if codes is not None:
            rows = [row for row in rows if row[name] in codes]
    if (name := chosen.get("distinct")) is not None:
        rows = [
            row for i, row in enumerate(rows) if row[name] not in {later[name] for later in rows[i + 1 :]}
        ]
    return rows[len(rows) - min(n, len(rows)) :]


def test_oracle_agrees_with_plain_python() -> None:
    oracle, arrived = MemoryStore(), []
    for seed in range(4):
        user_ids, columns = repeated(seed, 60, START_S + 100 * (seed % 3))
        oracle.append(user_ids, columns)
        arrived += [
            {"user": user, **{name: int(values[i]) for name, values in columns.items()}}
            for i, user in enumerate(user_ids.tolist())
        ]
    arrived.sort(key=lambda row: row["time_s"])  # stable: equal times stay in arrival order
    for chosen, n, end_s in product((*FILTERS, {}), (0, 1, 5, 999), (START_S + 200, LAST_S)):
        last = oracle.read_last(EVERYONE, n, before_s=end_s, **chosen)
        spanned = oracle.read_range(EVERYONE, START_S + 90, end_s, **chosen)
        for user in EVERYONE.tolist():
            history = [row for row in arrived if row["user"] == user]
            check(last.of(user), plainly(history, -LAST_S, end_s, n, chosen))
            check(spanned.of(user), plainly(history, START_S + 90, end_s, 10**9, chosen))


def check(found: Columns, expected: list[dict[str, int]]) -> None:
    for name in BEHAVIOURS.names:
        assert found[name].tolist() == [row[name] for row in expected]


def test_memory_keeps_the_newest_up_to_its_cap_at_or_after_its_floor() -> None:
    with MemoryStore(sequences=[SequenceType("clicks", BEHAVIOURS, cap=3)]) as store:
        store.append(*numbered([1] * 5 + [2], [10, 20, 30, 40, 50, 60]))
        store.append(*numbered([1], [15], first=9))
        assert store.read_last([1], 9).columns["time_s"].tolist() == [30, 40, 50]
        # A history is its newest 3: filters choose among those.
        assert store.read_last([1], 9, before_s=40).columns["time_s"].tolist() == [30]
        store.expire(45)
        with pytest.warns(ExpiredWarning):
            store.append(*numbered([1, 3], [44, 46]))
        assert store.read_last([1, 2, 3], 9).columns["time_s"].tolist() == [50, 60, 46]
        store.delete_user(2)
        store.delete_user(77)
        assert store.read_last([1, 2, 3], 9).lengths.tolist() == [1, 0, 1]
        assert store.stats()["behaviours"] == 2
        store.append(*numbered([2], [70]))
        assert store.read_last([2], 9).columns["time_s"].tolist() == [70]


def test_memory_keeps_its_sequences_separate() -> None:
    orders = HistorySchema("orders", 1, (Column("time_s", "i8", "s"), Column("price_cent", "u4")))
    kinds = [SequenceType("views", BEHAVIOURS), SequenceType("orders", orders, cap=2)]
    with MemoryStore(sequences=kinds) as store:
        store.append(*numbered([1, 2], [10, 20]))
        store.append([1, 1, 1], {"time_s": [3, 1, 2], "price_cent": [300, 100, 200]}, sequence="orders")
        found = store.read_range([1], 0, 99, sequence="orders")
        assert found.columns["price_cent"].tolist() == [200, 300]
        same(store.read_last([1, 2], 9), store.read_last([1, 2], 9, sequence="views"))
        store.expire(15, sequence="views")
        store.delete_user(2)
        assert store.stats()["users"] == 1
        assert store.read_last([1], 9, sequence="orders").lengths.tolist() == [2]
        assert store.read_last([1, 2], 9).lengths.tolist() == [0, 0]
