"""Ctrl-C at any moment of an append: no failure, nothing acknowledged is lost, and the store goes on."""

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from histories import numbered

from seqvault import StoreReadOnlyError
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


def test_interrupt_while_another_thread_syncs_for_it(tmp_path: Path, device: Device) -> None:
    begun, released = threading.Event(), threading.Event()

    def slow(sync: Callable[[], None]) -> None:
        begun.set()
        released.wait(20)
        sync()

    store = SeqVault(tmp_path)
    device.sync = slow
    other = threading.Thread(target=store.append, args=numbered([2], [0], 0))
    other.start()
    begun.wait(20)
    main = threading.get_ident()
    waiting = threading.Timer(0.05, lambda: signal.pthread_kill(main, signal.SIGINT))
    # A process in the background may ignore it.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        waiting.start()
        with pytest.raises(KeyboardInterrupt):
            store.append(*numbered([1], [1], 1))
    finally:
        signal.signal(signal.SIGINT, handler)
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


STEPS = [
    name for name in points.POINTS if name.split(".")[0] in ("wal", "log", "segment", "manifest", "seal")
]


@pytest.mark.parametrize("step", STEPS)
def test_interrupt_at_each_step_of_an_append_and_its_seal_loses_nothing(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SeqVault(tmp_path, background=False)
    store.append(*numbered([1], [0], 0))

    def interrupt(name: str) -> None:
        if name == step:
            monkeypatch.setattr(points, "hook", None)
            raise KeyboardInterrupt

    monkeypatch.setattr(points, "hook", interrupt)
    acknowledged = [0]

    def write(item: int) -> None:
        store.append(*numbered([1], [item], item))
        acknowledged.append(item)
        store.seal()

    with pytest.raises(KeyboardInterrupt):
        write(1)
    if step.startswith("manifest"):
        # Which manifest is the durable one a new opening finds out.
        with pytest.raises(StoreReadOnlyError, match="files were replaced"):
            write(2)
    else:
        write(2)
        write(3)
    store.close()
    with SeqVault(tmp_path) as again:
        found = items(again)
        assert [item for item in found if item in acknowledged] == acknowledged
        assert len(set(found)) == len(found)
        assert again.check().sound
