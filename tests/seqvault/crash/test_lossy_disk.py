"""The lossy disk loses what it may, and only that."""

import os
from pathlib import Path

import numpy as np
import pytest
from lossy_disk import SECTOR, KilledError, RecordingIO, crashes

from seqvault.vault.disk.files import FileIO


@pytest.fixture
def device(tmp_path: Path) -> RecordingIO:
    (tmp_path / "disk").mkdir()
    return RecordingIO(tmp_path / "disk")


def contents(device: RecordingIO, tries: int = 120) -> list[dict[str, bytes]]:
    """What the disk may hold now: the files of many losses of power."""
    rng = np.random.default_rng(0)
    found = []
    for turn, (_, _, image) in enumerate(crashes(device, [len(device.events)] * tries, rng)):
        folder = device.root.parent / f"image-{turn}"
        folder.mkdir()
        image.write(folder)
        found.append({path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    return found


def made(device: RecordingIO, name: str) -> int:
    return device.open(device.root / name, os.O_RDWR | os.O_CREAT, 0o644)


def test_synced_bytes_under_a_synced_name_survive_always(device: RecordingIO) -> None:
    fd = made(device, "a")
    device.pwrite(fd, b"x" * 2000, 0)
    device.fdatasync(fd)
    device.fsync_folder(device.root)
    assert all(files == {"a": b"x" * 2000} for files in contents(device))


def test_a_name_not_synced_may_be_missing_though_its_bytes_are_synced(device: RecordingIO) -> None:
    fd = made(device, "a")
    device.pwrite(fd, b"x", 0)
    device.fdatasync(fd)
    assert {files.get("a") for files in contents(device)} == {None, b"x"}


def test_sectors_not_synced_are_old_or_new_one_by_one(device: RecordingIO) -> None:
    fd = made(device, "a")
    device.pwrite(fd, b"o" * 3 * SECTOR, 0)
    device.fdatasync(fd)
    device.fsync_folder(device.root)
    device.pwrite(fd, b"n" * 3 * SECTOR, 0)
    device.pwrite(fd, b"N" * SECTOR, SECTOR)
    found = {bytes(files["a"][::SECTOR]) for files in contents(device)}
    assert {b"ooo", b"non", b"nNn", b"oNo", b"onn"} <= found
    assert found <= {a + b + c for a in (b"o", b"n") for b in (b"o", b"n", b"N") for c in (b"o", b"n")}


def test_a_length_not_synced_may_be_any_since_the_sync(device: RecordingIO) -> None:
    fd = made(device, "a")
    device.fsync_folder(device.root)
    device.pwrite(fd, b"x" * 700, 0)
    device.ftruncate(fd, 300)
    assert {len(files["a"]) for files in contents(device)} == {0, 300, 700}


def test_a_rename_is_atomic_and_may_be_lost(device: RecordingIO) -> None:
    for name, data in (("a", b"old"), ("a.new", b"new")):
        fd = made(device, name)
        device.pwrite(fd, data, 0)
        device.fdatasync(fd)
    device.fsync_folder(device.root)
    device.rename(device.root / "a.new", device.root / "a")
    found = contents(device)
    assert {files["a"] for files in found} == {b"old", b"new"}
    assert all(("a.new" in files) == (files["a"] == b"old") for files in found)


def test_a_write_that_began_after_the_sync_is_not_covered_by_it(device: RecordingIO) -> None:
    fd = made(device, "a")
    device.fsync_folder(device.root)
    sync = FileIO.fdatasync

    def write_meanwhile(self: object, fd: int) -> None:
        device.pwrite(fd, b"late", 0)
        sync(device, fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileIO, "fdatasync", write_meanwhile)
        device.fdatasync(fd)
    assert b"" in {files["a"] for files in contents(device)}


def test_a_dead_process_does_nothing_more_and_its_writes_stay_cached(device: RecordingIO) -> None:
    fd = made(device, "a")
    device.fsync_folder(device.root)
    device.die_in(1)
    device.pwrite(fd, b"x", 0)
    for call in (lambda: device.pwrite(fd, b"y", 1), lambda: device.unlink(device.root / "a")):
        with pytest.raises(KilledError):
            call()
    device.revive()
    fd = device.open(device.root / "a", os.O_RDWR, 0)
    assert device.pread(fd, 9, 0) == b"x"
    assert {files["a"] for files in contents(device)} == {b"", b"x", b"\0"}
