"""What readers and observers cost a writer, and see of it: statistics, followers, kinds of stores."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from histories import behaviours, numbered, same

from seqvault import HistoryStore, StoreError, open_store
from seqvault.lastn import LastNStore
from seqvault.memory import MemoryStore
from seqvault.vault import SeqVault
from seqvault.vault.log import replay
from seqvault.vault.reading import index, tails


def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (index, tails):
        monkeypatch.setattr(module, "_LOOKED_AT_ONCE", 8)


@pytest.mark.parametrize("plain", ["", "1"])
def test_stats_count_users_of_blocks_and_tails_once(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQVAULT_PLAIN", plain)
    small_portions(monkeypatch)
    oracle = MemoryStore()
    with SeqVault(tmp_path, block_rows=8, background=False) as store:
        for seed, users in ((1, 300), (2, 500), (3, 90)):
            for target in (store, oracle):
                target.append(*behaviours(seed, 900, users=users))
            if seed == 2:
                store.seal()
        for target in (store, oracle):
            target.delete_user(5)
        found, expected = store.stats(), oracle.stats()
        assert (found["users"], found["behaviours"]) == (expected["users"], expected["behaviours"])
        store.compact(full=True)
        blocks = sum(path.stat().st_size for path in tmp_path.glob("*.seg"))
        assert 0 < store.stats()["live_bytes"] < blocks


def test_stats_let_writers_in_between_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each portion is a section of its own; an index that grows meanwhile is counted anew."""
    small_portions(monkeypatch)
    users = np.arange(200, dtype="u8")
    with SeqVault(tmp_path, background=False) as store:
        store.bulk_load(*numbered(users, users.tolist()))
        holding, grown = index._holding, []

        def between(table: Any) -> Any:
            if not grown:
                grown.append(True)
                more = np.arange(200, 900, dtype="u8")
                store.bulk_load(*numbered(more, more.tolist()))
            return holding(table)

        monkeypatch.setattr(index, "_holding", between)
        assert store.stats()["users"] == 900
        assert len(grown) == 1


def test_follower_of_an_idle_writer_reads_none_of_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SeqVault(tmp_path) as writer:
        writer.append(*numbered([1], [1]))
        with SeqVault(tmp_path, read_only=True, staleness_s=math.inf) as reader:
            log = next(tmp_path.glob("*.log"))
            os.truncate(log, 16 << 20)
            read, sizes = replay.read_at, []

            def counted(fd: int, size: int, offset: int, path: Path) -> bytes:
                sizes.append(size)
                return read(fd, size, offset, path)

            monkeypatch.setattr(replay, "read_at", counted)
            reader.refresh()
            assert sum(sizes) <= replay._FOLLOWED_BYTES


@pytest.mark.parametrize("window", [8, 64, 1 << 14])
def test_follower_sees_records_of_every_size(
    window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_FOLLOWED_BYTES", window)
    with SeqVault(tmp_path) as writer, SeqVault(tmp_path, read_only=True, staleness_s=math.inf) as reader:
        for seed, rows in enumerate((1, 3, 0, 5000, 1, 700)):
            for _ in range(3):
                writer.append(*behaviours(seed, rows, users=9))
            reader.refresh()
            same(reader.read_last(np.arange(9), 10**6), writer.read_last(np.arange(9), 10**6))


KINDS = ("seqvault", "lastn")


def items(store: HistoryStore) -> list[int]:
    found: list[int] = store.read_last([1], 99).columns["item_id"].tolist()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_reader_sees_what_was_acknowledged_within_its_bound(kind: str, tmp_path: Path) -> None:
    with open_store(kind, tmp_path) as writer:
        writer.append(*numbered([1], [1]))
        with (
            open_store(kind, tmp_path, read_only=True, staleness_s=0.0) as follows,
            open_store(kind, tmp_path, read_only=True, staleness_s=math.inf) as stands,
        ):
            writer.append(*numbered([1], [2], first=1))
            assert items(follows) == [0, 1]
            assert items(stands) == [0]
            stands.refresh()  # type: ignore[attr-defined]
            assert items(stands) == [0, 1]
            writer.bulk_load(*numbered([1], [3], first=2))
            assert items(follows) == [0, 1, 2]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_store_of_another_kind_is_refused_and_left_alone(kind: str, read_only: bool, tmp_path: Path) -> None:
    other = KINDS[1 - KINDS.index(kind)]
    with open_store(other, tmp_path) as store:
        store.append(*numbered([1], [1]))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(StoreError, match=f"holds a {other} store .*open it with kind '{other}'"):
        open_store(kind, tmp_path, read_only=read_only)
    left = {path.name for path in tmp_path.iterdir()} - set(before)
    assert left <= {"LOCK"}
    with open_store(other, tmp_path) as store:
        assert items(store) == [0]


@pytest.mark.parametrize("read_only", [False, True])
def test_dropped_lastn_is_closed_and_says_so(read_only: bool, tmp_path: Path) -> None:
    with LastNStore(tmp_path) as store:
        store.append(*numbered([1], [1]))
    before = len(list(Path("/proc/self/fd").iterdir()))
    dropped = LastNStore(tmp_path, read_only=read_only)
    own_folder = dropped._handle._own_folder
    with pytest.warns(ResourceWarning, match=f"{tmp_path} was dropped while it was open"):
        del dropped
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert own_folder is None or not own_folder.exists()
    with LastNStore(tmp_path) as store:
        assert items(store) == [0]
