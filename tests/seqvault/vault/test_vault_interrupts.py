"""Ctrl-C at any moment of an append: no failure, nothing acknowledged is lost, and the store goes on."""

import _thread
import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from histories import numbered

from seqvault import StoreFullError, StoreReadOnlyError
from seqvault.vault import SeqVault
from seqvault.vault.disk import files, points


class Device(files.FileIO):
    """Calls `sync` in place of the next sync."""

    sync: Callable[[Callable[[], None]], None] | None = None

    def fdatasync(self, fd: int) -> None:
        now, self.sync = self.sync, None
        if now is None:
            super().fdatasync(fd)
        else:
            now(lambda: os.fdatasync(fd))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    monkeypatch.setattr(files, "io", device)
    return device


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Ctrl-C, from any thread: as the system sends it, and Python raises it in the main one."""
    main = threading.get_ident()
    # A process in the background may ignore it.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.pthread_kill(main, signal.SIGINT)
    signal.signal(signal.SIGINT, handler)


def at(step: str, call: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `call` called when the store passes a point for the first time."""

    def hook(name: str) -> None:
        if name == step:
            monkeypatch.setattr(points, "hook", None)
            call()

    monkeypatch.setattr(points, "hook", hook)


def items(store: SeqVault, user: int = 1) -> list[int]:
    found: list[int] = store.read_last([user], 99).columns["item_id"].tolist()
    return found


def goes_on(store: SeqVault, folder: Path, written: list[int]) -> None:
    """The store takes an append, shows what was `written` before it, seals, and reopens with the same."""
    store.append(*numbered([1], [50], 50))
    store.flush()
    assert items(store) == [*written, 50]
    store.seal()
    store.append(*numbered([1], [51], 51))
    store.close()
    with SeqVault(folder) as again:
        assert items(again) == [*written, 50, 51]
        assert again.check().sound


def before(sync: Callable[[], None]) -> None:
    raise KeyboardInterrupt


def after(sync: Callable[[], None]) -> None:
    sync()
    raise KeyboardInterrupt


@pytest.mark.parametrize("moment", [before, after])
def test_interrupted_sync_is_done_again_with_the_next(moment, tmp_path: Path, device: Device) -> None:
    store = SeqVault(tmp_path)
    store.append(*numbered([1], [0], 0))
    device.sync = moment
    with pytest.raises(KeyboardInterrupt):
        store.append(*numbered([1, 1], [1, 2], 1))
    assert (items(store), store.durable_sequence) == ([0], 1)
    goes_on(store, tmp_path, [0, 1, 2])


def test_interrupt_that_takes_the_place_of_a_failed_sync_stops_the_store(
    tmp_path: Path, device: Device
) -> None:
    def fail(sync: Callable[[], None]) -> None:
        try:
            raise OSError(errno.EIO, "the device failed")
        except OSError:
            raise KeyboardInterrupt  # noqa: B904

    with SeqVault(tmp_path) as store:
        device.sync = fail
        with pytest.raises(KeyboardInterrupt):
            store.append(*numbered([1], [1], 1))
        with pytest.raises(StoreReadOnlyError, match="the device failed"):
            store.append(*numbered([1], [2], 2))


def test_interrupt_while_another_thread_syncs_for_it(
    tmp_path: Path, device: Device, ctrl_c: Callable[[], None]
) -> None:
    begun, released = threading.Event(), threading.Event()

    def slow(sync: Callable[[], None]) -> None:
        begun.set()
        released.wait()
        sync()

    store = SeqVault(tmp_path)
    commit = store._access.writer._commit  # type: ignore[union-attr]

    def interrupt() -> None:
        while commit.last < 2:  # both are in the log: the main thread waits
            time.sleep(0.01)
        ctrl_c()

    device.sync = slow
    other = threading.Thread(target=store.append, args=numbered([2], [0], 0))
    waiting = threading.Thread(target=interrupt)
    try:
        other.start()
        begun.wait()
        waiting.start()
        with pytest.raises(KeyboardInterrupt):
            store.append(*numbered([1], [1], 1))
    finally:
        released.set()
    other.join()
    waiting.join()
    assert items(store, 2) == [0]
    goes_on(store, tmp_path, [1])


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("done", [False, True])
def test_interrupt_before_or_after_rows_are_made_readable(
    done: bool, durability: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SeqVault(tmp_path, durability=durability)
    tails: Any = store._access.state.tables[0].tails
    add = tails.add

    def interrupted(*rows: Any) -> None:
        monkeypatch.undo()
        if done:
            add(*rows)
        raise KeyboardInterrupt

    users, columns = numbered([1, 1], [1, 2], 1)
    monkeypatch.setattr(tails, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.append(users, columns)
    # The caller's arrays are the caller's again.
    for values in (users, *columns.values()):
        np.asarray(values)[:] = 0
    goes_on(store, tmp_path, [1, 2])


def test_interrupt_behind_rows_that_are_readable_leaves_no_older_answer_in_the_hot_tier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SeqVault(tmp_path, hot_bytes=1 << 20) as store:
        store.append(*numbered([1], [0], 0))
        for _ in range(4):
            assert items(store) == [0]
        assert store.stats()["hot_hits"] > 0
        tails: Any = store._access.state.tables[0].tails
        add = tails.add

        def interrupted(*rows: Any) -> None:
            monkeypatch.undo()
            add(*rows)
            raise KeyboardInterrupt

        monkeypatch.setattr(tails, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.append(*numbered([1], [1], 1))
        store.append(*numbered([2], [2], 2))
        assert items(store) == [0, 1]


def test_interrupt_amid_a_large_append_stops_the_store_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SeqVault(tmp_path)
    tails: Any = store._access.state.tables[0].tails
    add = tails.add

    def interrupted(users: np.ndarray, columns: dict[str, np.ndarray]) -> None:
        monkeypatch.undo()
        add(users[:1], {name: values[:1] for name, values in columns.items()})
        raise KeyboardInterrupt

    monkeypatch.setattr(tails, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.append(*numbered([1, 1], [1, 2], 1))
    with pytest.raises(StoreReadOnlyError, match="1 of an append's 2 behaviours"):
        store.append(*numbered([1], [3], 3))
    store.close()
    with SeqVault(tmp_path) as again:
        assert items(again)[:2] == [1, 2]


def steps(*of: str) -> list[str]:
    return [name for name in points.POINTS if name.split(".")[0] in of]


@pytest.mark.parametrize("step", steps("wal", "log", "segment", "manifest", "seal"))
def test_interrupt_at_each_step_of_an_append_and_its_seal_loses_nothing(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]
) -> None:
    store = SeqVault(tmp_path, background=False)
    store.append(*numbered([1], [0], 0))
    acknowledged = [0]

    def write(item: int) -> None:
        store.append(*numbered([1], [item], item))
        acknowledged.append(item)
        store.seal()

    at(step, ctrl_c, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        write(1)
    write(2)
    write(3)
    store.close()
    with SeqVault(tmp_path) as again:
        found = items(again)
        assert [item for item in found if item in acknowledged] == acknowledged
        assert len(set(found)) == len(found)
        assert again.check().sound


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("step", steps("segment", "manifest", "compaction"))
def test_interrupt_at_each_step_of_a_compaction_loses_nothing(
    step: str, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]
) -> None:
    with SeqVault(tmp_path, background=False) as store:
        for item in range(4):
            store.append(*numbered([1], [item], item))
            store.seal()
        at(step, ctrl_c, monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            store.compact(full=full)
        assert items(store) == [0, 1, 2, 3]
        store.compact(full=full)
        store.append(*numbered([1], [4], 4))
    with SeqVault(tmp_path) as again:
        assert items(again) == [0, 1, 2, 3, 4]
        assert len(list(tmp_path.glob("*.seg"))) == 1
        assert again.check().sound


def test_interrupt_beside_a_full_device_leaves_nothing_of_the_seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]
) -> None:
    def full() -> None:
        ctrl_c()
        raise StoreFullError("no space left")

    store = SeqVault(tmp_path, background=False)
    store.append(*numbered([1], [0], 0))
    before = sorted(tmp_path.iterdir())
    at("manifest.written", full, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        store.seal()
    assert sorted(tmp_path.iterdir()) == before
    goes_on(store, tmp_path, [0])


def test_interrupt_amid_a_seal_stops_a_store_that_can_have_no_other_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*work: Any) -> None:
        raise RuntimeError("can't start new thread")

    def interrupt() -> None:
        raise KeyboardInterrupt

    store = SeqVault(tmp_path, background=False)
    store.append(*numbered([1], [0], 0))
    at("manifest.renamed", interrupt, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", none_left)
        with pytest.raises(KeyboardInterrupt):
            store.seal()
    # Which manifest is the durable one a new opening finds out.
    with pytest.raises(StoreReadOnlyError, match="files were replaced"):
        store.append(*numbered([1], [1], 1))
    store.close()
    with SeqVault(tmp_path) as again:
        assert items(again) == [0]
        assert again.check().sound
