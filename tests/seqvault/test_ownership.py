"""Whose a store is: not a forked child's, and not of whatever folder its path leads to by now."""

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from histories import numbered, open_kind

from seqvault import StoreClosedError, StoreError, StoreReadOnlyError
from seqvault.vault import SeqVault

KINDS = ("seqvault", "lastn-chunks")
both = pytest.mark.parametrize("kind", KINDS)


def items(store: Any, user: int) -> list[int]:
    found: list[int] = store.read_last([user], 1000).columns["item_id"].tolist()
    return found


def put(store: Any, user: int, first: int, rows: int = 3) -> None:
    store.append(*numbered([user] * rows, list(range(first, first + rows)), first))


def content(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    # RocksDB writes its log of events now and then.
    return {str(file.relative_to(folder)): file.read_bytes() for file in files if file.name != "LOG"}


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns in a forked child, or the error that it raises."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = work()
        except Exception as error:
            answer = error
        os.write(into, pickle.dumps(answer))
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        answer = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return pickle.loads(answer)


# ---- forks -------------------------------------------------------------------------------------------


@both
def test_child_cannot_use_a_store_that_its_parent_opened(kind: str, tmp_path: Path) -> None:
    with open_kind(kind, tmp_path / "store") as store:
        put(store, 1, 0)
        operations: list[Callable[[], Any]] = [
            lambda: put(store, 1, 10),
            lambda: store.bulk_load(*numbered([1], [10])),
            lambda: items(store, 1),
            lambda: store.timed_read_last([1], 1),
            lambda: store.read_range([1], 0, 5),
            lambda: store.stats(),
        ]
        for operation in operations:
            error = in_child(operation)
            assert isinstance(error, StoreClosedError), error
            for word in (f"opened by process {os.getpid()}", "read_only=True", "spawn", "store"):
                assert word in str(error)


def test_child_cannot_use_what_only_seqvault_offers(tmp_path: Path) -> None:
    with SeqVault(tmp_path / "store") as store:
        put(store, 1, 0)
        prepared = store.prepare_last(2)
        assert prepared(np.array([1], "u8")).columns["item_id"].tolist() == [1, 2]
        operations: list[Callable[[], Any]] = [
            lambda: prepared(np.array([1], "u8")),
            lambda: store.prepare_last(3),
            store.seal,
            store.compact,
            store.maintain,
            store.flush,
            store.refresh,
            store.users,
            store.check,
            lambda: store.delete_user(1),
            lambda: store.expire(5),
            lambda: store.snapshot(tmp_path / "copy"),
            lambda: store.locate(1, 5),
            lambda: store.durable_sequence,
        ]
        for operation in operations:
            assert isinstance(in_child(operation), StoreClosedError)
        assert not (tmp_path / "copy").exists()


@both
def test_child_that_closes_takes_nothing_from_its_parent(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with open_kind(kind, folder) as store:
        put(store, 1, 0)
        before = content(folder)
        assert in_child(lambda: [store.close(), store.close()]) == [None, None]
        assert content(folder) == before
        # The lock is the parent's still.
        with pytest.raises(StoreError, match="open for writing elsewhere"):
            open_kind(kind, folder)
        put(store, 1, 10)
        assert items(store, 1) == [0, 1, 2, 10, 11, 12]
    with open_kind(kind, folder) as store:
        assert items(store, 1) == [0, 1, 2, 10, 11, 12]


@both
def test_workers_of_multiprocessing_fail_aloud_and_lose_nothing(kind: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with open_kind(kind, tmp_path / "store") as store:
        put(store, 0, 0)
        workers = [context.Process(target=put, args=(store, user, 100)) for user in (1, 2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [1, 1]
        put(store, 3, 5)
        assert [len(items(store, user)) for user in range(4)] == [3, 0, 0, 3]
    with open_kind(kind, tmp_path / "store") as store:
        assert [len(items(store, user)) for user in range(4)] == [3, 0, 0, 3]


@both
def test_child_reads_a_store_that_it_opens_itself(kind: str, tmp_path: Path) -> None:
    def read() -> list[int]:
        with open_kind(kind, tmp_path / "store", read_only=True) as own:
            return items(own, 1)

    with open_kind(kind, tmp_path / "store") as store:
        put(store, 1, 0)
        assert in_child(read) == [0, 1, 2]


def test_child_writes_to_a_seqvault_of_its_own(tmp_path: Path) -> None:
    def write() -> list[int]:
        with SeqVault(tmp_path / "own") as own:
            put(own, 2, 7)
            own.seal()
            return items(own, 2)

    with SeqVault(tmp_path / "store") as store:
        put(store, 1, 0)
        assert in_child(write) == [7, 8, 9]
        assert items(store, 1) == [0, 1, 2]


def test_child_of_a_process_with_rocksdb_does_not_write_to_rocksdb(tmp_path: Path) -> None:
    with open_kind("lastn-chunks", tmp_path / "store"):
        error = in_child(lambda: open_kind("lastn-chunks", tmp_path / "own"))
    assert isinstance(error, StoreError)
    assert "did not survive the fork" in str(error)
    assert "spawn" in str(error)


def test_reader_is_not_inherited_either(tmp_path: Path) -> None:
    with SeqVault(tmp_path) as store:
        put(store, 1, 0)
        store.seal()
    with SeqVault(tmp_path, read_only=True) as reader:
        assert isinstance(in_child(lambda: items(reader, 1)), StoreClosedError)
        assert in_child(reader.close) is None
        assert items(reader, 1) == [0, 1, 2]


def test_child_that_outlives_its_parents_store_does_not_keep_the_lock(tmp_path: Path) -> None:
    store = SeqVault(tmp_path)
    begun, begins = os.pipe()
    ends, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.write(begins, b"x")
        os.read(ends, 1)
        os._exit(0)
    os.read(begun, 1)
    store.close()
    SeqVault(tmp_path).close()
    os.close(end)
    os.waitpid(child, 0)
    for fd in (begun, begins, ends):
        os.close(fd)


# ---- the process changes its folder ------------------------------------------------------------------


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@both
def test_relative_path_means_the_folder_it_was_opened_in(kind: str, tmp_path: Path) -> None:
    with inside(tmp_path / "b"), open_kind(kind, Path("store")) as other:
        put(other, 7, 700)
        other.bulk_load(*numbered([7], [800], 800))
    before = content(tmp_path / "b")
    with inside(tmp_path / "a"):
        store = open_kind(kind, Path("store"))
        put(store, 1, 0)
    with inside(tmp_path / "b"), store:
        put(store, 1, 10)
        store.bulk_load(*numbered([1], [20], 20))
        assert items(store, 1) == [0, 1, 2, 10, 11, 12, 20]
        assert store.stats()["bytes_on_disk"] > 0
    assert content(tmp_path / "b") == before
    with open_kind(kind, tmp_path / "a" / "store") as store:
        assert items(store, 1) == [0, 1, 2, 10, 11, 12, 20]


# ---- the folder is moved, removed or replaced --------------------------------------------------------


def test_writer_whose_folder_was_replaced_stops_and_changes_nothing_there(tmp_path: Path) -> None:
    folder, moved = tmp_path / "store", tmp_path / "moved"
    store = SeqVault(folder)
    put(store, 1, 0)
    folder.rename(moved)
    with SeqVault(folder) as other:
        put(other, 2, 100)
        before = content(folder)
        for operation in (
            lambda: put(store, 1, 10),
            store.seal,
            lambda: store.bulk_load(*numbered([1], [5])),
            lambda: store.compact(full=True),
            lambda: store.delete_user(1),
        ):
            with pytest.raises(StoreReadOnlyError, match="no longer leads to the folder that was opened"):
                operation()
        with pytest.raises(StoreReadOnlyError, match="moved, removed or replaced"):
            store.snapshot(tmp_path / "copy")
        store.close()
        assert content(folder) == before
        put(other, 2, 200)
        assert items(other, 2) == [100, 101, 102, 200, 201, 202]
    with SeqVault(folder) as other:
        assert items(other, 2) == [100, 101, 102, 200, 201, 202]
    with SeqVault(moved) as store:
        # What was acknowledged, and an append that was refused and is durable all the same.
        assert items(store, 1)[:3] == [0, 1, 2]
        assert store.check().sound


@pytest.mark.parametrize("how", ["moved", "removed", "emptied"])
def test_seal_after_the_folder_is_gone_says_so(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = SeqVault(folder)
    put(store, 1, 0)
    if how == "moved":
        folder.rename(tmp_path / "moved")
    else:
        for file in folder.iterdir():
            file.unlink()
        if how == "removed":
            folder.rmdir()
    with pytest.raises(StoreReadOnlyError, match="no longer leads"):
        store.seal()
    # Reads go on from what is open.
    assert items(store, 1) == [0, 1, 2]
    store.close()
    assert not folder.exists() or not any(folder.iterdir())


def test_async_appends_stop_at_the_next_sync(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = SeqVault(folder, durability="async")
    put(store, 1, 0)
    folder.rename(tmp_path / "moved")
    with pytest.raises(StoreReadOnlyError, match="no longer leads"):
        store.flush()
    with pytest.raises(StoreReadOnlyError, match="no longer leads"):
        put(store, 1, 10)
    store.close()


def test_reader_of_a_replaced_folder_does_not_mix_two_stores(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with SeqVault(folder) as store:
        put(store, 1, 0)
    with SeqVault(folder, read_only=True) as reader:
        folder.rename(tmp_path / "moved")
        with SeqVault(folder) as other:
            put(other, 2, 100)
            other.seal()
        with pytest.raises(StoreError, match="no longer leads to the folder that was opened"):
            reader.refresh()


def test_lastn_whose_folder_was_replaced_stops_and_changes_nothing_there(tmp_path: Path) -> None:
    folder, spare = tmp_path / "store", tmp_path / "spare"
    with open_kind("lastn-chunks", spare) as other:
        put(other, 2, 100)
    before = content(spare)
    store = open_kind("lastn-chunks", folder)
    put(store, 1, 0)
    folder.rename(tmp_path / "moved")
    spare.rename(folder)
    for operation in (lambda: put(store, 1, 10), lambda: store.bulk_load(*numbered([1], [5]))):
        with pytest.raises(StoreReadOnlyError, match="no longer leads to the folder that was opened"):
            operation()
    # The append that noticed it was not begun: filling the memtable, it would make a file by name.
    assert items(store, 1) == [0, 1, 2]
    # RocksDB, closing, removes files by name that it does not know.
    store.close()
    assert content(folder) == before
    with open_kind("lastn-chunks", tmp_path / "moved") as found:
        assert items(found, 1) == [0, 1, 2]
