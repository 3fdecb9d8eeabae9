"""A store that is dropped while it is open gives back its lock, its descriptors and its threads."""

import gc
import os
import threading
from pathlib import Path

import pytest
from histories import numbered

from seqvault.vault import SeqVault
from seqvault.vault.disk import files
from seqvault.vault.engine import access


@pytest.fixture(autouse=True)
def closing_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sync of a busy device, for which whoever drops a store waits only some seconds."""
    monkeypatch.setattr(access, "_CLOSING_S", 600.0)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("seqvault")]


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_dropped_writer_is_closed_and_says_so(durability: str, tmp_path: Path) -> None:
    before = descriptors()
    store = SeqVault(tmp_path, durability=durability)
    store.append(*numbered([1], [1], 1))
    store.seal()
    store.append(*numbered([1], [2], 2))
    with pytest.warns(ResourceWarning, match=f"{tmp_path} was dropped while it was open"):
        del store
    assert (descriptors(), threads()) == (before, [])
    with SeqVault(tmp_path) as store:
        assert store.read_last([1], 9).columns["item_id"].tolist() == [1, 2]
        assert store.stats()["torn_bytes"] == 0


def test_dropped_readers_leak_nothing(tmp_path: Path) -> None:
    with SeqVault(tmp_path) as store:
        store.append(*numbered([1], [1], 1))
        store.seal()
    before = descriptors()
    for _ in range(20):
        with pytest.warns(ResourceWarning):
            SeqVault(tmp_path, read_only=True).read_last([1], 1)
    assert descriptors() == before


def test_store_in_a_cycle_is_closed_by_the_collector(tmp_path: Path) -> None:
    store = SeqVault(tmp_path)
    store.timed_read_last([1], 1)
    cycle: list[object] = [store]
    cycle.append(cycle)
    del store, cycle
    with pytest.warns(ResourceWarning):
        gc.collect()
    SeqVault(tmp_path).close()


def test_prepared_read_keeps_its_store(tmp_path: Path) -> None:
    store = SeqVault(tmp_path)
    store.append(*numbered([1], [1], 1))
    read = store.prepare_last(1)
    del store
    gc.collect()
    assert read([1]).columns["item_id"].tolist() == [1]
    with pytest.warns(ResourceWarning):
        del read


def test_closed_store_says_nothing(tmp_path: Path) -> None:
    store = SeqVault(tmp_path)
    store.close()
    store.close()
    del store
    gc.collect()


def test_store_dropped_in_a_forked_child_is_its_parents_still(tmp_path: Path) -> None:
    held = [SeqVault(tmp_path)]
    held[0].append(*numbered([1], [1], 1))
    log = next(tmp_path.glob("*.log"))
    before = log.read_bytes()
    child = os.fork()
    if child == 0:
        mine = descriptors()
        held.clear()
        gc.collect()
        os._exit(0 if descriptors() < mine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert log.read_bytes() == before
    held[0].append(*numbered([1], [2], 2))
    held[0].close()
    with SeqVault(tmp_path) as store:
        assert store.read_last([1], 9).columns["item_id"].tolist() == [1, 2]


def test_store_dropped_by_its_own_thread_is_closed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[SeqVault] = []
    done = threading.Event()

    class Device(files.FileIO):
        def fdatasync(self, fd: int) -> None:
            super().fdatasync(fd)
            if held and threading.current_thread().name == "seqvault-flusher":
                held.clear()
                done.set()

    monkeypatch.setattr(files, "io", Device())
    monkeypatch.setattr(access, "_CLOSING_S", 0.05)
    held.append(SeqVault(tmp_path, durability="async"))

    def drop() -> None:
        held[0].append(*numbered([1], [1], 1))
        assert done.wait(600)
        for thread in threading.enumerate():
            if thread.name in ("seqvault-closer", "seqvault-flusher"):
                thread.join(600)

    with pytest.warns(ResourceWarning):
        drop()
    with SeqVault(tmp_path) as store:
        assert store.read_last([1], 9).columns["item_id"].tolist() == [1]
