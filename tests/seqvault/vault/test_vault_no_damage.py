"""What is no damage is not called damage: a store closed beside a read, and a lack of descriptors."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from histories import numbered

from seqvault import DamagedDataError, StoreClosedError, StoreError
from seqvault.vault import SeqVault
from seqvault.vault.disk import files
from seqvault.vault.engine import follower


def made(folder: Path) -> SeqVault:
    store = SeqVault(folder)
    store.append(*numbered([1], [1], 1))
    store.seal()
    return store


@pytest.mark.parametrize("read", ["read_last", "read_range", "prepared"])
def test_read_that_finds_its_store_closed_meanwhile_says_so(
    read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(tmp_path)
    prepared: Any = store.prepare_last(5)

    def closed_meanwhile(*query: Any) -> None:
        store.close()
        raise DamagedDataError("Bad file descriptor")

    monkeypatch.setattr(store._access.state.tables[0].reader, "read", closed_meanwhile)
    monkeypatch.setattr(prepared, "_reading", closed_meanwhile)
    reads = {
        "read_last": lambda: store.read_last([1], 5),
        "read_range": lambda: store.read_range([1], 0, 5),
        "prepared": lambda: prepared([1]),
    }
    with pytest.raises(StoreClosedError, match="is closed"):
        reads[read]()


class Exhausted(files.FileIO):
    """Opens so many files yet."""

    def __init__(self, left: int) -> None:
        self.left = left

    def open(self, path: Path, flags: int, mode: int) -> int:
        self.left -= 1
        if self.left >= 0:
            return super().open(path, flags, mode)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))


@pytest.mark.parametrize("read_only", [False, True])
def test_lack_of_descriptors_is_no_damage(
    read_only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path).close()
    monkeypatch.setattr(files, "io", Exhausted(0))
    with pytest.raises(StoreError, match="Too many open files") as caught:
        SeqVault(tmp_path, read_only=read_only)
    assert not isinstance(caught.value, DamagedDataError)


def test_lack_of_a_descriptor_for_the_folder_is_no_missing_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path).close()

    def exhausted(path: Path) -> int:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE), str(path))

    monkeypatch.setattr(follower, "open_folder", exhausted)
    with pytest.raises(StoreError, match="no descriptor free"):
        SeqVault(tmp_path, read_only=True)


def test_reader_that_lacks_descriptors_for_a_seal_leaks_none_and_goes_on_later(tmp_path: Path) -> None:
    with made(tmp_path) as store, SeqVault(tmp_path, read_only=True, staleness_s=60) as reader:
        store.append(*numbered([1], [2], 2))
        store.seal()
        before = len(list(Path("/proc/self/fd").iterdir()))
        for left in (1, 2):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(files, "io", Exhausted(left))
                with pytest.raises(StoreError, match="not damaged"):
                    reader.refresh()
            assert len(list(Path("/proc/self/fd").iterdir())) == before
            assert reader.read_last([1], 9).columns["item_id"].tolist() == [1]
        reader.refresh()
        assert reader.read_last([1], 9).columns["item_id"].tolist() == [1, 2]
