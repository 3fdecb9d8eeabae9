"""What SeqVault does with torn logs, flipped bits, failed syncs and full devices."""

import errno
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from histories import behaviours, numbered, open_kind, same

from seqvault import DamagedDataError, HistoryBatch, StoreError, StoreFullError, StoreReadOnlyError
from seqvault.memory import MemoryStore
from seqvault.vault import SeqVault
from seqvault.vault.disk import files, points

EVERYONE = np.arange(7)
ALL = 10**9


def everything(store: SeqVault | MemoryStore) -> HistoryBatch:
    return store.read_last(EVERYONE, ALL)


def log_end(store: SeqVault) -> int:
    """Byte behind the last record: the file goes on with reserved zeros."""
    others = sum(file.stat().st_size for file in store.path.iterdir() if not file.name.startswith("wal"))
    return int(store.stats()["bytes_on_disk"]) - others


def remove_but(folder: Path, origin: dict[str, bytes]) -> None:
    """Put a folder back as it was."""
    for file in folder.iterdir():
        file.unlink()
    for name, data in origin.items():
        (folder / name).write_bytes(data)


def the_log(folder: Path) -> Path:
    (log,) = folder.glob("wal-*.log")
    return log


def test_log_cut_at_every_byte_of_its_last_records_gives_the_exact_prefix(tmp_path: Path) -> None:
    oracle, prefixes, ends = MemoryStore(), [], []
    with SeqVault(tmp_path / "store") as store:
        for seed in range(5):
            store.append(*behaviours(seed, 4))
            oracle.append(*behaviours(seed, 4))
            prefixes.append(everything(oracle))
            ends.append(log_end(store))
    whole = the_log(tmp_path / "store").read_bytes()
    origin = {file.name: file.read_bytes() for file in (tmp_path / "store").iterdir()}
    for cut in range(ends[1], ends[4]):
        the_log(tmp_path / "store").write_bytes(whole[:cut])
        whole_records = sum(end <= cut for end in ends)
        with SeqVault(tmp_path / "store") as store:
            same(everything(store), prefixes[whole_records - 1])
            stats = store.stats()
            # Zeros at the cut may as well have been reserved.
            assert stats["torn_bytes"] <= cut - ends[whole_records - 1]
            assert (stats["torn_bytes"] > 0) == any(whole[ends[whole_records - 1] : cut])
            assert stats["durable_sequence"] == whole_records
        remove_but(tmp_path / "store", origin)


def test_appends_continue_behind_a_torn_record(tmp_path: Path) -> None:
    with SeqVault(tmp_path) as store:
        store.append(*numbered([1, 2], [1, 2]))
    with the_log(tmp_path).open("ab") as log:
        log.write(b"SVR2\x40\x00\x00\x00half")
    for first in (2, 3):
        with SeqVault(tmp_path) as store:
            store.append(*numbered([1], [9], first))
    with SeqVault(tmp_path) as store:
        assert store.read_last([1], 9).columns["item_id"].tolist() == [0, 2, 3]


def test_damage_before_the_last_log_record_is_an_error_not_a_truncation(tmp_path: Path) -> None:
    with SeqVault(tmp_path) as store:
        store.append(*numbered([1], [1]))
        first_end = log_end(store)
        store.append(*numbered([1], [2]))
    whole = the_log(tmp_path).read_bytes()
    for at in range(first_end):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        the_log(tmp_path).write_bytes(damaged)
        with pytest.raises(DamagedDataError, match=r"acknowledged|begins with"):
            SeqVault(tmp_path)


def test_bit_flips_never_return_wrong_data(tmp_path: Path) -> None:
    origin, copy = tmp_path / "origin", tmp_path / "copy"
    with SeqVault(origin, block_rows=64) as store:
        store.bulk_load(*behaviours(0, 600))
        store.append(*behaviours(1, 30))
        expected = everything(store)
        before_last = everything_without_log(store)
    rng = np.random.default_rng(5)
    refused = readable = 0
    for file in sorted(f for f in origin.iterdir() if f.name != "LOCK"):
        whole = file.read_bytes()
        for bit in rng.choice(8 * len(whole), min(8 * len(whole), 120), replace=False).tolist():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(origin, copy)
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << (bit % 8)
            (copy / file.name).write_bytes(damaged)
            try:
                with SeqVault(copy, block_rows=64) as store:
                    for i, user in enumerate(EVERYONE.tolist()):
                        try:
                            found = store.read_last([user], ALL)
                        except DamagedDataError:
                            refused += 1
                            continue
                        readable += 1
                        wanted = expected.of(i)
                        if len(found.columns["time_s"]) < len(wanted["time_s"]):
                            # The log's last record, cut off as torn, and reported so.
                            assert store.stats()["torn_bytes"]
                            wanted = before_last.of(i)
                        for name, values in wanted.items():
                            np.testing.assert_array_equal(found.columns[name], values)
            except StoreError:
                refused += 1
    assert refused > 150
    # One bad block leaves the other users readable.
    assert readable > refused


def everything_without_log(store: SeqVault) -> HistoryBatch:
    oracle = MemoryStore()
    oracle.append(*behaviours(0, 600))
    assert store.stats()["unsealed"] == 30
    return everything(oracle)


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_failed_sync_stops_writing_until_reopened(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SeqVault(tmp_path)
    store.append(*numbered([1], [1]))

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "injected")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StoreReadOnlyError, match="until reopened"):
            store.append(*numbered([1], [2], 1)) if call == "fdatasync" else store.seal()
    for write in (lambda: store.append(*numbered([1], [3], 2)), store.seal, store.compact):
        with pytest.raises(StoreReadOnlyError, match="stopped writing"):
            write()
    assert store.read_last([1], 9).columns["item_id"].tolist() == [0]
    store.close()
    with SeqVault(tmp_path) as store:
        kept = store.read_last([1], 9).columns["item_id"].tolist()
        # The append whose sync failed was not acknowledged: it may be there or not.
        assert kept in ([0], [0, 1])
        store.append(*numbered([1], [4], 3))
        assert store.read_last([1], 9).columns["item_id"].tolist() == [*kept, 3]


class FullDevice:
    """os.pwrite on a device with so many bytes left: a short write first, then ENOSPC."""

    def __init__(self, left: int) -> None:
        self.left = left
        self._pwrite = os.pwrite

    def __call__(self, fd: int, data: bytes, offset: int) -> int:
        if self.left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._pwrite(fd, bytes(data)[: self.left], offset)
        self.left -= written
        return written


@pytest.mark.parametrize("left", [*range(0, 400, 37), *range(400, 9000, 431)])
def test_full_device_keeps_the_store_consistent(
    left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle, failures = MemoryStore(), 0
    store = open_kind("seqvault-small", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", FullDevice(left))
        for seed in range(12):
            write = (
                (lambda rows: store.bulk_load(*rows)) if seed % 4 == 3 else lambda rows: store.append(*rows)
            )
            try:
                write(behaviours(seed, 9))
            except StoreFullError:
                failures += 1
            else:
                oracle.append(*behaviours(seed, 9))
            same(everything(store), everything(oracle))
    assert failures
    # Space is back: the same object goes on, and so does the next one.
    for seed in range(20, 30):
        store.append(*behaviours(seed, 9))
        oracle.append(*behaviours(seed, 9))
    same(everything(store), everything(oracle))
    store.close()
    with open_kind("seqvault-small", tmp_path) as store:
        same(everything(store), everything(oracle))


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, bytes(data)[:5], offset))
    oracle = MemoryStore()
    with open_kind("seqvault-small", tmp_path) as store:
        for seed in range(12):
            store.append(*behaviours(seed, 9))
            oracle.append(*behaviours(seed, 9))
    with open_kind("seqvault-small", tmp_path) as store:
        same(everything(store), everything(oracle))


@pytest.fixture
def small_device(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs root to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_really_full_device_keeps_every_acknowledged_append(small_device: Path) -> None:
    oracle, failures, seed = MemoryStore(), 0, 0
    store = open_kind("seqvault-small", small_device)
    while failures < 5:
        try:
            store.append(*behaviours(seed, 50))
            oracle.append(*behaviours(seed, 50))
        except StoreFullError:
            failures += 1
        seed += 1
    same(everything(store), everything(oracle))
    store.close()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_device)], check=True)
    with open_kind("seqvault-small", small_device) as store:
        same(everything(store), everything(oracle))
        store.append(*behaviours(seed, 50))


class ClosesSlowly(files.FileIO):
    """Waits before each close of one thread; makes no log where it is full."""

    def __init__(self) -> None:
        self.closes, self.goes_on = threading.Event(), threading.Event()
        self.slow: threading.Thread | None = None
        self.full = False

    def close(self, fd: int) -> None:
        if threading.current_thread() is self.slow:
            self.closes.set()
            self.goes_on.wait()
        super().close(fd)

    def open(self, path: Path, flags: int, mode: int) -> int:
        if self.full and flags & os.O_CREAT and path.suffix == ".log":
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().open(path, flags, mode)


def test_a_seal_that_does_not_fit_leaves_a_compaction_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing a file, a thread lets others run: what both closed could be a third one's by then."""
    device, failed = ClosesSlowly(), []
    monkeypatch.setattr(files, "io", device)

    def compact() -> None:
        try:
            store.compact()
        except BaseException as error:
            failed.append(error)
        finally:
            device.closes.set()

    def begin_to_wait(name: str) -> None:
        if name == "compaction.adopted":
            device.slow = threading.current_thread()

    with SeqVault(tmp_path, background=False) as store:
        for item in range(4):
            store.append(*numbered([1], [item], item))
            store.seal()
        store.append(*numbered([1], [4], 4))
        monkeypatch.setattr(points, "hook", begin_to_wait)
        compaction = threading.Thread(target=compact)
        compaction.start()
        try:
            device.closes.wait()
            device.full = True
            with pytest.raises(StoreFullError):
                store.seal()
        finally:
            device.goes_on.set()
            compaction.join()
        assert not failed
        assert len(list(tmp_path.glob("*.seg"))) == 1
        device.full = False
        store.seal()
        assert store.read_last([1], 9).columns["item_id"].tolist() == [0, 1, 2, 3, 4]
    with SeqVault(tmp_path) as store:
        assert store.read_last([1], 9).columns["item_id"].tolist() == [0, 1, 2, 3, 4]
        assert store.check().sound


def test_lost_manifest_is_an_error_not_an_empty_store(tmp_path: Path) -> None:
    with SeqVault(tmp_path) as store:
        store.append(*behaviours(0, 50))
    (tmp_path / "MANIFEST").unlink()
    with pytest.raises(DamagedDataError, match="no MANIFEST"):
        SeqVault(tmp_path)


def test_compaction_drops_dead_bytes_and_nothing_else(tmp_path: Path) -> None:
    oracle = MemoryStore()
    with SeqVault(tmp_path, block_rows=32) as store:
        for seed in range(15):
            store.append(*behaviours(seed, 40))
            oracle.append(*behaviours(seed, 40))
            store.seal()
        before = store.stats()
        store.append(*behaviours(99, 5))
        oracle.append(*behaviours(99, 5))
        store.compact()
        after = store.stats()
        assert after["segments"] == 1 < before["segments"]
        assert after["bytes_on_disk"] < 0.5 * before["bytes_on_disk"]
        same(everything(store), everything(oracle))
    with SeqVault(tmp_path, block_rows=32) as store:
        same(everything(store), everything(oracle))


def test_reader_follows_its_writer(tmp_path: Path) -> None:
    with SeqVault(tmp_path, block_rows=16) as writer:
        writer.bulk_load(*behaviours(0, 200))
        writer.append(*behaviours(1, 10))
        with SeqVault(tmp_path, read_only=True, staleness_s=float("inf")) as reader:
            before = everything(writer)
            writer.append(*behaviours(2, 300))
            same(everything(reader), before)
            for change in (writer.seal, writer.compact, lambda: writer.delete_user(3)):
                reader.refresh()
                same(everything(reader), everything(writer))
                change()
            reader.refresh()
            same(everything(reader), everything(writer))
