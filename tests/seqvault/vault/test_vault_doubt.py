"""A reader beside a writer that replaces files takes nothing for damage that is none."""

import os
import threading
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from histories import behaviours, numbered, same

from seqvault import DamagedDataError, HistoryBatch, StoreError
from seqvault.vault import SeqVault
from seqvault.vault.disk import files
from seqvault.vault.sealed import doubt

EVERYONE, ALL = np.arange(7), 10**9


class RacingIO(files.FileIO):
    """Lets something happen at each of the first `times` openings of a file with this suffix."""

    def __init__(self, suffix: str, times: int, happens: Callable[[], object]) -> None:
        self.suffix, self.left, self.happens = suffix, times, happens

    def open(self, path: Path, flags: int, mode: int) -> int:
        if path.suffix == self.suffix and self.left and not flags & os.O_CREAT:
            self.left -= 1
            device, files.io = files.io, files.FileIO()
            self.happens()
            files.io = device
        return super().open(path, flags, mode)


def everything(store: SeqVault) -> HistoryBatch:
    return store.read_last(EVERYONE, ALL)


@pytest.fixture
def writer(tmp_path: Path) -> SeqVault:
    store = SeqVault(tmp_path / "store", block_rows=16, background=False)
    store.bulk_load(*behaviours(0, 100))
    store.append(*behaviours(1, 10))
    return store


def replace_all(writer: SeqVault) -> None:
    """Another log and another segment take the place of those there are."""
    writer.append(*numbered([1], [1]))
    writer.compact(full=True)


@pytest.mark.parametrize("times", [1, 8])
@pytest.mark.parametrize(
    ("how", "suffix"),
    [("open", ".seg"), ("open", ".log"), ("refresh", ".seg"), ("refresh", ".log"), ("snapshot", ".log")],
)
def test_files_replaced_between_manifest_and_opening_are_no_damage(
    how: str, suffix: str, times: int, writer: SeqVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = RacingIO(suffix, times, lambda: replace_all(writer))
    reader = SeqVault(writer.path, read_only=True, staleness_s=float("inf"))
    writer.compact(full=True)
    with writer, reader:
        with monkeypatch.context() as patch:
            patch.setattr(files, "io", device)
            if how == "refresh":
                reader.refresh()
            elif how == "snapshot":
                reader.snapshot(tmp_path / "copy")
            path = writer.path if how == "open" else tmp_path / "copy"
            if how != "refresh":
                reader.close()
                reader = SeqVault(path, read_only=True)
        same(everything(reader), everything(writer))
        assert device.left == 0
        reader.close()


def test_writer_that_never_rests_ends_in_an_error_that_is_no_damage(
    writer: SeqVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubt, "_TRIES", 4)
    with writer, monkeypatch.context() as patch:
        patch.setattr(files, "io", RacingIO(".seg", 1000, lambda: replace_all(writer)))
        with pytest.raises(StoreError, match="replaced files 4 times") as caught:
            SeqVault(writer.path, read_only=True)
        assert not isinstance(caught.value, DamagedDataError)


def test_log_cut_by_a_closing_writer_is_no_damage(writer: SeqVault, monkeypatch: pytest.MonkeyPatch) -> None:
    with SeqVault(writer.path, read_only=True, staleness_s=float("inf")) as reader:
        writer.append(*numbered([2], [7]))
        expected = everything(writer)
        sizes = files.size_of

        def before_it_closes(fd: int) -> int:
            size = sizes(fd)
            monkeypatch.undo()
            writer.close()
            return size

        monkeypatch.setattr("seqvault.vault.log.replay.size_of", before_it_closes)
        reader.refresh()
        same(everything(reader), expected)


def test_damage_is_believed_when_it_is_still_there(writer: SeqVault) -> None:
    writer.close()
    (segment,) = writer.path.glob("*.seg")
    segment.unlink()
    with pytest.raises(DamagedDataError, match="is missing"):
        SeqVault(writer.path, read_only=True)


def test_readers_open_while_a_writer_seals_compacts_and_reopens(tmp_path: Path) -> None:
    path, opened = tmp_path / "store", 0
    failed: list[BaseException] = []
    done = threading.Event()

    def write() -> None:
        try:
            appended = 0
            while not done.is_set():
                with SeqVault(path, block_rows=16, background=False) as store:
                    steps = (store.seal, store.compact, lambda store=store: store.compact(full=True))
                    for _, step in zip(range(6), cycle(steps), strict=False):
                        store.append(*numbered([1], [appended], appended))
                        appended += 1
                        step()
        except BaseException as error:
            failed.append(error)

    SeqVault(path).close()
    thread = threading.Thread(target=write)
    thread.start()
    try:
        before = 0
        while (opened < 40 or not before) and not failed:
            with SeqVault(path, read_only=True) as reader:
                items = reader.read_last([1], ALL).columns["item_id"].tolist()
            assert items == list(range(len(items)))
            assert len(items) >= before
            before = len(items)
            opened += 1
    finally:
        done.set()
        thread.join()
    assert not failed
    assert before
