"""What is written anew is read back before what it replaces is given up: no byte may change on its way."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from histories import behaviours, same

from seqvault import DamagedDataError, HistoryBatch, StoreReadOnlyError
from seqvault.memory import MemoryStore
from seqvault.vault import SeqVault
from seqvault.vault.disk import files

EVERYONE, ALL = np.arange(7), 10**9
OPTIONS = {"block_rows": 16, "codec": "zstd", "background": False}
CHANGES: dict[str, Callable[[SeqVault], object]] = {
    "seal": lambda store: store.seal(),
    "bulk load": lambda store: store.bulk_load(*behaviours(3, 30)),
    "compaction": lambda store: store.compact(),
    "full compaction": lambda store: store.compact(full=True),
}
# What each writes at least: segments and the manifest; a seal a new log.
WRITES = {"seal": 4, "bulk load": 4, "compaction": 3, "full compaction": 2}


class FlippingIO(files.FileIO):
    """A device that flips one bit of its nth write, at a place within the data."""

    def __init__(self, write: int = -1, place: float = 0.0) -> None:
        self.write, self.place = write, place
        self.writes = 0

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        changed = bytearray(data)
        if self.writes == self.write:
            changed[int(self.place * (len(changed) - 1))] ^= 4
        self.writes += 1
        return super().pwrite(fd, changed, offset)


def everything(store: SeqVault | MemoryStore) -> HistoryBatch:
    return store.read_last(EVERYONE, ALL)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HistoryBatch]:
    """Two segments, batch ids, rows in the log; and what is in it."""
    folder = tmp_path_factory.mktemp("readback") / "store"
    oracle = MemoryStore()
    with SeqVault(folder, **OPTIONS) as store:
        for seed in range(3):
            store.append(*behaviours(seed, 40), batch_id=seed)
            oracle.append(*behaviours(seed, 40))
            if seed < 2:
                store.compact(full=seed == 0)
                store.seal()
    return folder, everything(oracle)


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob("*.new"))


@pytest.mark.parametrize("change", CHANGES)
def test_flipped_write_is_found_before_anything_is_given_up(
    change: str, origin: tuple[Path, HistoryBatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, expected = origin
    places = np.random.default_rng(4).random(99).tolist()
    writes = case = 0
    while not case or case < 2 * writes:
        path = shutil.copytree(folder, tmp_path / str(case))
        with SeqVault(path, **OPTIONS) as store:
            with monkeypatch.context() as patch:
                patch.setattr(files, "io", FlippingIO(case // 2, places[case]))
                with pytest.raises(DamagedDataError, match=r"as it was written|just after"):
                    CHANGES[change](store)
            same(everything(store), expected)
            assert not leftovers(path)
            if case == 0:
                # It goes right the next time.
                counting = FlippingIO()
                with monkeypatch.context() as patch:
                    patch.setattr(files, "io", counting)
                    CHANGES[change](store)
                writes = counting.writes
        with SeqVault(path, read_only=True) as store:
            if case or change != "bulk load":
                same(everything(store), expected)
        case += 1
    assert writes >= WRITES[change]


def test_append_whose_seal_goes_wrong_is_kept_and_the_store_stops_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = MemoryStore()
    oracle.append(*behaviours(0, 50))
    with SeqVault(tmp_path, seal_rows=50, background=False) as store:
        with monkeypatch.context() as patch:
            patch.setattr(files, "io", FlippingIO(write=2))
            store.append(*behaviours(0, 50))
        with pytest.raises(StoreReadOnlyError, match="just after it was written"):
            store.append(*behaviours(1, 1))
        same(everything(store), everything(oracle))
    with SeqVault(tmp_path) as store:
        same(everything(store), everything(oracle))
        store.append(*behaviours(1, 1))
