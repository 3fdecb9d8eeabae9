"""Reading: the compiled reader, its plain twin and the dict agree, whatever lies in blocks and tails."""

import os
import tempfile
import threading
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from histories import behaviours, numbered, same
from hypothesis import given, settings
from sealed import Sealed

from seqvault import BEHAVIOURS, Column, DamagedDataError, HistorySchema
from seqvault.memory import MemoryStore
from seqvault.query import NO_BOUND_S
from seqvault.schema import SequenceType

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
BOTH = pytest.mark.parametrize("plain", [False, True], ids=["compiled", "plain"])

# Times close together, so that ties, cuts inside a block and late behaviours are the rule.
TIMES = st.integers(-2, 14)
ROWS = st.lists(
    st.tuples(st.integers(0, 2), TIMES, st.integers(0, 6), st.integers(0, 2), st.integers(0, 2)), max_size=25
)
SCRIPT = st.lists(st.tuples(ROWS, st.none() | st.integers(1, 6)), max_size=5)
CODES = st.none() | st.lists(st.integers(0, 3), max_size=2)
QUERY = st.fixed_dictionaries(
    {
        "users": st.lists(st.integers(0, 3), max_size=4),
        "n": st.integers(0, 12) | st.just(10**9),
        "range": st.none() | st.tuples(TIMES, TIMES),
        "before_s": st.none() | TIMES | st.just(NO_BOUND_S) | st.lists(TIMES, min_size=4, max_size=4),
        "scenes": CODES,
        "actions": CODES,
        "distinct": st.none() | st.sampled_from(["item_id", "category", "scene", "time_s"]),
        "columns": st.none() | st.lists(st.sampled_from(["scene", "item_id", "time_s"]), min_size=1),
    }
)


def in_columns(rows):
    """(users, columns) from tuples of user, time, item, scene, action; dwell counts them."""
    users, times, items, scenes, actions = np.array(rows, "i8").reshape(-1, 5).T
    columns = {"time_s": times, "item_id": items, "category": items // 2, "scene": scenes}
    return users, {**columns, "action": actions, "dwell_s": np.arange(len(users))}


def asked(store, query):
    """The answer of anything that reads like a store."""
    conditions = {name: query[name] for name in ("scenes", "actions", "distinct", "columns")}
    if query["range"] is not None:
        return store.read_range(query["users"], *query["range"], **conditions)
    before_s = query["before_s"]
    if isinstance(before_s, list):
        before_s = before_s[: len(query["users"])]
    return store.read_last(query["users"], query["n"], before_s=before_s, **conditions)


@settings(max_examples=120)
@given(
    script=SCRIPT,
    queries=st.lists(QUERY, min_size=1, max_size=6),
    cap=st.none() | st.integers(1, 15),
    floor_s=st.none() | TIMES,
)
def test_compiled_and_plain_reader_agree_with_a_dict(script, queries, cap, floor_s) -> None:
    oracle = MemoryStore(sequences=[SequenceType("behaviours", BEHAVIOURS, cap)])
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        stores = [Sealed(Path(folder) / f"{plain}.seg", plain=plain) for plain in (False, True)]
        for rows, block_rows in script:
            oracle.append(*in_columns(rows))
            for store in stores:
                store.add(*in_columns(rows))
                if block_rows is not None:
                    store.seal(block_rows)
        if floor_s is not None:
            oracle.expire(floor_s, force=True)
        for store in stores:
            store.reader.cap = cap
            if floor_s is not None:
                store.reader.floor_s = floor_s
            for query in queries:
                same(asked(store, query), asked(oracle, query))
            store.close()


@BOTH
def test_long_histories_are_read_whole_and_in_part(tmp_path: Path, plain: bool) -> None:
    store, oracle = Sealed(tmp_path / "a.seg", plain=plain), MemoryStore()
    rows = behaviours(1, 30_000, users=3, span_s=5000)
    store.load(*rows, block_rows=1000)
    oracle.append(*rows)
    late = behaviours(2, 300, users=5, span_s=9000)
    store.add(*late)
    oracle.append(*late)
    users = [2, 7, 0, 2, 4]
    for n in (1, 150, 999, 4000, 10**9):
        same(store.read_last(users, n), oracle.read_last(users, n))
        same(store.read_last(users, n, distinct="category"), oracle.read_last(users, n, distinct="category"))
        same(store.read_last(users, n, scenes=[1]), oracle.read_last(users, n, scenes=[1]))
    at_s = int(np.median(rows[1]["time_s"]))
    same(store.read_last(users, 200, before_s=at_s), oracle.read_last(users, 200, before_s=at_s))
    same(store.read_range(users, at_s, at_s + 50), oracle.read_range(users, at_s, at_s + 50))
    store.close()


@BOTH
@pytest.mark.parametrize("tail", [0, 3, 12])
def test_cap_counts_behaviours_behind_the_bound_too(tmp_path: Path, plain: bool, tail: int) -> None:
    store = Sealed(tmp_path / "a.seg", plain=plain)
    store.load(*numbered([1] * (20 - tail), list(range(20 - tail))), block_rows=3)
    store.add(*numbered([1] * tail, list(range(20 - tail, 20))))
    store.reader.cap = 10
    for before_s in range(22):
        found = store.read_last([1], 4, before_s=before_s).columns["time_s"]
        assert found.tolist() == [time_s for time_s in range(10, 20) if time_s < before_s][-4:]
    store.close()


def test_users_may_come_in_any_form_an_array_has(tmp_path: Path) -> None:
    store = Sealed(tmp_path / "a.seg")
    store.add(*numbered([0, 1, 2, 3, 4], [1, 2, 3, 4, 5]))
    fixed = np.array([3, 1], "u8")
    fixed.flags.writeable = False
    for users in (fixed, np.arange(8, dtype="u8")[3:0:-2], [3, 1], (3, 1), np.array([3, 1], "i4")):
        assert store.read_last(users, 5).columns["time_s"].tolist() == [4, 2]
    assert len(store.read_last([], 5)) == 0
    store.close()


def test_small_answer_holds_no_large_memory(tmp_path: Path) -> None:
    store = Sealed(tmp_path / "a.seg")
    store.add(*numbered([1, 1], [1, 2]))
    for values in store.read_last([1], 10**9).columns.values():
        assert values.base is None or values.base.nbytes < 1000
    store.close()


@BOTH
def test_columns_a_block_was_written_without_have_their_default(tmp_path: Path, plain: bool) -> None:
    wider = HistorySchema(
        "behaviours",
        2,
        (*BEHAVIOURS.columns[:2], Column("price", "i4", default=-7), *BEHAVIOURS.columns[3:]),
    )
    store, old = (
        Sealed(tmp_path / "a.seg", plain=plain, schema=wider),
        Sealed(tmp_path / "b.seg", plain=plain),
    )
    rows = behaviours(3, 40, users=1)
    old.load(*rows, block_rows=16)
    store.index.apply(0, entries_of(old))
    store.reader.add(0, old.fd, old.path)
    with pytest.raises(DamagedDataError, match="unknown schema"):
        store.read_last([0], 10)
    store.reader.set_schema({schema.id: schema for schema in (BEHAVIOURS, wider)})
    found, expected = store.read_last([0], 30).columns, old.read_last([0], 30).columns
    assert found["price"].tolist() == [-7] * 30
    assert found["price"].dtype == np.dtype("i4")
    for name in ("time_s", "item_id", "dwell_s"):
        np.testing.assert_array_equal(found[name], expected[name])
    kept = store.read_last([0], 30, scenes=[1], distinct="price").columns
    assert kept["item_id"].tolist() == expected["item_id"][expected["scene"] == 1][-1:].tolist()
    store.close()
    old.close()


def entries_of(store: Sealed) -> np.ndarray:
    """What a footer would say of a store's blocks."""
    live = store.index.live()
    return live[[name for name in live.dtype.names if name != "slot"]].astype(live.dtype.descr[:-1])


@BOTH
def test_flipped_bit_is_named_and_spares_other_users(tmp_path: Path, plain: bool) -> None:
    store = Sealed(tmp_path / "a.seg", plain=plain)
    store.load(*behaviours(4, 300, users=3), block_rows=50)
    expected = store.read_last([0, 2], 10**9)
    older = store.read_last([1], 40, before_s=int(store.index.blocks_of(1)["first_s"][-1]))
    block = store.index.blocks_of(1)[-1]
    data = bytearray(store.path.read_bytes())
    data[int(block["offset"]) + int(block["size"]) // 2] ^= 16
    store.path.write_bytes(data)
    with pytest.raises(DamagedDataError, match=rf"a\.seg: the block at byte {block['offset']} \(user 1"):
        store.read_last([0, 1], 1)
    same(store.read_last([0, 2], 10**9), expected)
    same(store.read_last([1], 40, before_s=int(block["first_s"])), older)
    store.close()


@BOTH
def test_block_of_another_user_is_not_believed(tmp_path: Path, plain: bool) -> None:
    store = Sealed(tmp_path / "a.seg", plain=plain)
    store.load(*behaviours(4, 40, users=1), block_rows=50)
    entry = entries_of(store)
    entry["user"] = 9
    store.index.apply(0, entry)
    with pytest.raises(DamagedDataError, match="user 9"):
        store.read_last([9], 5)
    store.close()


@BOTH
def test_file_cut_short_and_segment_not_open_are_reported(tmp_path: Path, plain: bool) -> None:
    store = Sealed(tmp_path / "a.seg", plain=plain)
    store.load(*behaviours(4, 40, users=1), block_rows=50)
    os.truncate(store.path, store.path.stat().st_size - 8)
    with pytest.raises(DamagedDataError, match=r"a\.seg ends at byte"):
        store.read_last([0], 5)
    store.reader.remove(0)
    with pytest.raises(DamagedDataError, match="is not open"):
        store.read_last([0], 5)
    store.close()


@BOTH
def test_direct_reads_return_the_same(device_path: Path, plain: bool) -> None:
    rows = behaviours(5, 6000, users=3)
    cached = Sealed(device_path / "a.seg", plain=plain)
    cached.load(*rows, block_rows=700)
    try:
        direct = Sealed(device_path / "b.seg", plain=plain, direct=True)
    except OSError:
        pytest.skip("the file system of the temporary folder has no O_DIRECT")
    direct.load(*rows, block_rows=700)
    for n in (1, 900, 10**9):
        same(direct.read_last([2, 0, 1], n), cached.read_last([2, 0, 1], n))
    cached.close()
    direct.close()


def test_readers_see_gap_free_prefixes_while_a_writer_adds_and_seals(tmp_path: Path) -> None:
    store = Sealed(tmp_path / "a.seg")
    batches, batch = 120, 25
    failures: list[str] = []
    done = threading.Event()

    def watch() -> None:
        seen = 0
        while not done.is_set() or seen < batches * batch:
            found = store.read_last([5], 10**9).columns["item_id"]
            if found.tolist() != list(range(len(found))) or len(found) < seen:
                failures.append(f"{len(found)} after {seen}: {found[:3]}..{found[-3:]}")
                return
            seen = len(found)

    threads = [threading.Thread(target=watch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(batches):
        first = i * batch
        store.add(*numbered([5] * batch, [first // 10] * batch, first))
        if i % 7 == 6:
            seal_at_once(store)
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    store.close()


def seal_at_once(store: Sealed) -> None:
    """A seal as the store does it: the index takes over in the moment the tails are emptied."""
    with store.lock.exclusive():
        store.seal(block_rows=40)
