"""Files have identities: one of another store, or of another line of this one, is refused under any name."""

import shutil
from pathlib import Path

import pytest
from histories import numbered, same
from test_store_formats import copy_of, holds

from seqvault import DamagedDataError
from seqvault.vault import SeqVault
from seqvault.vault.care.check import check_store
from seqvault.vault.disk.identity import StrangerError
from seqvault.vault.disk.manifest import read_manifest


def store_of(folder: Path, first: int, *, seal: bool = True) -> Path:
    """A store of three users whose items tell where they are from."""
    with SeqVault(folder) as store:
        store.append(*numbered([0, 1, 2], [5, 6, 7], first=first))
        if seal:
            store.seal()
    return folder


def only(folder: Path, kind: str) -> Path:
    (found,) = folder.glob(f"*.{kind}")
    return found


@pytest.mark.parametrize("kind", ["seg", "log"])
def test_file_of_another_store_is_refused_and_its_own_mends(kind: str, tmp_path: Path) -> None:
    own, other = (store_of(tmp_path / name, i * 100, seal=kind == "seg") for i, name in enumerate("ab"))
    path = only(own, kind)
    kept = path.read_bytes()
    shutil.copy(only(other, kind), path)
    for read_only in (True, False):
        with pytest.raises(StrangerError, match=f"{path.name} is the file of this number of another store"):
            SeqVault(own, read_only=read_only)
    report = check_store(own)
    assert [finding.file for finding in report.findings] == [path.name]
    assert "of another store" in report.findings[0].found
    path.write_bytes(kept)
    with SeqVault(own) as store:
        assert store.read_last([1], 9).columns["item_id"].tolist() == [1]
        assert store.check().sound


def restored(tmp_path: Path) -> tuple[Path, Path]:
    """A store that went on from an older backup, and a younger backup with files of the same names."""
    folder, older, younger = (tmp_path / name for name in ("line", "older", "younger"))
    with SeqVault(store_of(folder, 0)) as store:
        store.snapshot(older)
        store.append(*numbered([1], [10], first=100))
        store.seal()
        store.snapshot(younger)
    shutil.rmtree(folder)
    shutil.copytree(older, folder)
    with SeqVault(folder) as store:
        store.append(*numbered([1], [20], first=555))
        store.seal()
    return folder, younger


@pytest.mark.parametrize("kind", ["seg", "log"])
def test_file_of_the_line_before_a_restore_is_refused(kind: str, tmp_path: Path) -> None:
    folder, younger = restored(tmp_path)
    path = max(folder.glob(f"*.{kind}"))
    assert (younger / path.name).exists()
    shutil.copy(younger / path.name, path)
    with pytest.raises(StrangerError, match="of the same store before or after it was restored"):
        SeqVault(folder)
    assert "restored" in check_store(folder).findings[0].found


def test_segment_that_both_lines_have_mends_either(tmp_path: Path) -> None:
    folder, younger = restored(tmp_path)
    path = min(folder.glob("*.seg"))
    path.write_bytes(bytes(path.stat().st_size))
    identity = f"{read_manifest(folder).sequences[0].segments[0].id:016x}"  # type: ignore[union-attr]
    assert identity in check_store(folder).findings[0].mend
    shutil.copy(younger / path.name, path)
    with SeqVault(folder) as store:
        assert store.read_last([1], 9).columns["item_id"].tolist() == [1, 555]


def test_reader_refuses_a_stranger_at_a_refresh(tmp_path: Path) -> None:
    own, other = store_of(tmp_path / "a", 0), store_of(tmp_path / "b", 100)
    with SeqVault(own) as writer, SeqVault(own, read_only=True) as reader:
        for store, user in ((writer, 3), (SeqVault(other), 3)):
            store.append(*numbered([user], [8], first=50))
            store.seal()
            if store is not writer:
                store.close()
        path = max(own.glob("*.seg"))
        path.unlink()
        shutil.copy(other / path.name, path)
        with pytest.raises(StrangerError):
            reader.refresh()


def test_segment_of_a_store_from_before_identities_is_known_by_its_footer_once_written_to(
    tmp_path: Path,
) -> None:
    folder, contents = copy_of("format-2", tmp_path)
    with SeqVault(folder, schema=None) as store:
        holds(store, contents)
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.store
    files = [file for sequence in manifest.sequences for file in sequence.segments]
    assert [file.id for file in files] == [0] * len(files)
    path = sorted(folder.glob("behaviours-*.seg"))[-1]
    another = sorted(folder.glob("behaviours-*.seg"))[0].read_bytes()
    # The same number and no identity: only size and footer tell.
    head = path.read_bytes()[:32]
    path.write_bytes(head + another[32:])
    with pytest.raises(DamagedDataError, match="another file of this number"):
        SeqVault(folder, schema=None, read_only=True)
    assert "another file" in check_store(folder).findings[0].found


def test_copies_of_a_store_are_that_store(tmp_path: Path) -> None:
    folder = store_of(tmp_path / "a", 0)
    with SeqVault(folder) as store:
        store.append(*numbered([4], [9], first=7))
        store.snapshot(tmp_path / "copy")
        expected = store.read_last([0, 1, 2, 4], 9)
    with SeqVault(tmp_path / "copy") as copy:
        same(copy.read_last([0, 1, 2, 4], 9), expected)
    known = [read_manifest(path).store for path in (folder, tmp_path / "copy")]  # type: ignore[union-attr]
    assert known[0] == known[1]
