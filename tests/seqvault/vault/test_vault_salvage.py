"""A damaged footer is rebuilt from the blocks: everyone stays readable, and nobody deleted comes back."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from histories import behaviours, numbered, same
from test_store_formats import copy_of, holds

from seqvault import DamagedDataError, HistoryBatch
from seqvault.memory import MemoryStore
from seqvault.vault import SeqVault
from seqvault.vault.care.check import check_store
from seqvault.vault.disk.identity import SegmentFile
from seqvault.vault.disk.segment import TAIL_BYTES, Segment, segment_footer
from seqvault.vault.format.block import read_header
from seqvault.vault.format.entries import ENTRY
from seqvault.vault.log.record import DELETE, Record
from seqvault.vault.sealed.salvage import entries_of_blocks, stone_blocks

EVERYONE, ALL = np.arange(7), 10**9


def everything(store: SeqVault | MemoryStore) -> HistoryBatch:
    return store.read_last(EVERYONE, ALL)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HistoryBatch]:
    """Three segments, the later ones with blocks that replace earlier ones, and two deleted users."""
    folder, oracle = tmp_path_factory.mktemp("salvage") / "store", MemoryStore()
    with SeqVault(folder, block_rows=16, background=False) as store:
        for seed in range(3):
            if seed:
                for target in (store, oracle):
                    target.delete_user(seed)
            store.append(*behaviours(seed, 60, users=7 - seed))
            oracle.append(*behaviours(seed, 60, users=7 - seed))
            store.seal()
        for target in (store, oracle):
            target.delete_user(6)
            target.append(*numbered([3], [5]))
        store.seal()
    return folder, everything(oracle)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.seg"))


def file_of(path: Path) -> SegmentFile:
    """A segment's number and identity, from its head."""
    return SegmentFile(*np.frombuffer(path.read_bytes()[8:24], "<u8").tolist())


def stones_of(path: Path) -> int:
    """How many tombstones a segment has."""
    segment = Segment(path, file_of(path))
    stones = int((segment.entries()["rows"] == 0).sum())
    segment.close()
    return stones


def footer_of(path: Path) -> int:
    """The byte where a segment's footer begins."""
    return int(np.frombuffer(path.read_bytes()[-TAIL_BYTES:], "<u8")[0])


@pytest.mark.parametrize("which", range(4))
def test_every_flipped_bit_of_a_footer_leaves_everyone_readable(
    which: int, origin: tuple[Path, HistoryBatch], tmp_path: Path
) -> None:
    folder, expected = origin
    path = segments(shutil.copytree(folder, tmp_path / "store"))[which]
    whole = path.read_bytes()
    for at in range(footer_of(path), len(whole) - 4, 5):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with SeqVault(path.parent, read_only=True) as store:
            same(everything(store), expected)
            assert path.name in store.damage[0]
    path.write_bytes(whole)
    with SeqVault(path.parent, read_only=True) as store:
        assert store.damage == ()


def test_writer_refuses_a_damaged_footer_and_says_what_to_do(
    origin: tuple[Path, HistoryBatch], tmp_path: Path
) -> None:
    folder, expected = origin
    path = segments(shutil.copytree(folder, tmp_path / "store"))[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + bytes(20))
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(DamagedDataError, match=f"{path.name}.*laser-ab store dump.*laser-ab store check"):
        SeqVault(path.parent)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before
    report = check_store(path.parent)
    assert [finding.file for finding in report.findings] == [path.name]
    assert "read-only" in report.findings[0].readable
    assert path.name not in {file.name for file in report.files}
    # As it says: the same file of a copy mends it.
    shutil.copy(segments(folder)[1], path)
    with SeqVault(path.parent) as store:
        same(everything(store), expected)


@pytest.mark.parametrize("which", range(4))
def test_segment_cut_within_its_footer_is_read_as_long_as_all_blocks_are_there(
    which: int, origin: tuple[Path, HistoryBatch], tmp_path: Path
) -> None:
    folder, expected = origin
    path = segments(shutil.copytree(folder, tmp_path / "store"))[which]
    whole, footer = path.read_bytes(), footer_of(path)
    for size in range(len(whole) - 1, 31, -29):
        path.write_bytes(whole[:size])
        if size >= footer:
            with SeqVault(path.parent, read_only=True) as store:
                same(everything(store), expected)
        else:
            # Blocks may be missing: an older version of a history would pass for the newest.
            with pytest.raises(DamagedDataError, match=path.name):
                SeqVault(path.parent, read_only=True)


def test_damaged_block_beside_a_damaged_footer_is_refused(
    origin: tuple[Path, HistoryBatch], tmp_path: Path
) -> None:
    path = segments(shutil.copytree(origin[0], tmp_path / "store"))[1]
    whole, footer = path.read_bytes(), footer_of(path)
    for at in range(32, footer, 97):
        damaged = bytearray(whole)
        damaged[at] ^= 16
        damaged[footer + 3] ^= 16
        path.write_bytes(damaged)
        with pytest.raises(DamagedDataError, match=f"{path.name}.*laser-ab store check"):
            SeqVault(path.parent, read_only=True)


def test_tombstones_that_are_no_blocks_are_not_forgotten(tmp_path: Path) -> None:
    """As versions before wrote them: in the footer alone, which the manifest did not name."""
    folder, expected = copy_of("format-2", tmp_path)
    path = next(path for path in segments(folder) if stones_of(path))
    segment = Segment(path, file_of(path))
    entries, data = segment.entries(), path.read_bytes()
    segment.close()
    cut = 64 * stones_of(path)
    entries["offset"][entries["rows"] > 0] -= cut
    body = data[:32] + data[32 + cut : footer_of(path)]
    footer, _ = segment_footer(len(body), entries, packed=False)
    path.write_bytes(body + footer)
    with SeqVault(folder, schema=None, read_only=True) as store:
        holds(store, expected)
    for at in (len(body) + 1, len(body) + 60, path.stat().st_size - 30):
        damaged = bytearray(body + footer)
        damaged[at] ^= 2
        path.write_bytes(damaged)
        with pytest.raises(DamagedDataError, match=path.name):
            SeqVault(path.parent, read_only=True)


def test_compiled_and_plain_scan_give_the_footer_back(
    origin: tuple[Path, HistoryBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    for plain in ("", "1"):
        monkeypatch.setenv("SEQVAULT_PLAIN", plain)
        for window in (64, 8 << 20):
            monkeypatch.setattr("seqvault.vault.sealed.salvage._WINDOW_BYTES", window)
            for path in segments(origin[0]):
                segment = Segment(path, file_of(path))
                # As if the manifest named it: with its footer's hash.
                expected = segment.entries()
                found = entries_of_blocks(segment)
                assert found is not None
                assert found.tobytes() == expected.tobytes()
                segment.close()


def test_stone_is_an_intact_block_without_rows() -> None:
    stones = np.zeros(3, ENTRY)
    stones["user"], stones["start"] = [0, 7, 2**64 - 1], [0, 5, 2**32 - 1]
    data = stone_blocks(stones).copy()
    for k, stone in enumerate(stones):
        header = read_header(data, 64 * k, 64)
        assert (header.user, header.start, header.rows) == (int(stone["user"]), int(stone["start"]), 0)


def test_tombstones_are_no_reason_to_compact_again_and_again(tmp_path: Path) -> None:
    gone = np.arange(90_000, dtype="u8")
    with SeqVault(tmp_path, background=False) as store:
        for users in (gone + len(gone), gone):
            store.bulk_load(*numbered(users, np.arange(len(users)).tolist()))
        # As that many delete_user, with one sync.
        store._access.writer._change(Record(DELETE, len(gone), 1), gone, {})  # type: ignore[union-attr]
        store.append(*numbered([1], [1]))
        store.seal()
        store.maintain()
        generation = store.stats()["generation"]
        store.maintain()
        assert store.stats()["generation"] == generation
        assert len(store.users()) == len(gone) + 1


def test_segments_of_tombstones_alone_are_compacted(tmp_path: Path) -> None:
    users = np.arange(60, dtype="u8")
    with SeqVault(tmp_path, background=False) as store:
        store.bulk_load(*numbered(users, users.tolist()))
        for user in range(55):
            store.delete_user(user)
            store.seal()
        before = store.stats()["segments"]
        store.maintain()
        assert store.stats()["segments"] < before
    for _ in range(2):
        with SeqVault(tmp_path, background=False) as store:
            assert store.users().tolist() == users[55:].tolist()
            store.compact()
