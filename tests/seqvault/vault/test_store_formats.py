"""Stores in the formats that we promise to read, kept as files: every later version opens them.

`fixtures/format-N/store` is the folder, `NAME.npz` beside it what the memory store held of each sequence, the
first called behaviours. make_fixture.py made each when it was new; format 2 was the first to be promised.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from histories import numbered, same

from seqvault import HistoryBatch
from seqvault.vault import SeqVault
from seqvault.vault.care.check import check_store
from seqvault.vault.format.entries import is_shared

FIXTURES = Path(__file__).parent / "fixtures"
FORMATS = ("format-2", "format-3", "format-4")


def copy_of(form: str, folder: Path) -> tuple[Path, dict[str, HistoryBatch]]:
    """A writable copy of a fixture's store, and what its sequences must hold."""
    path = shutil.copytree(FIXTURES / form / "store", folder / "store")
    contents = {}
    for archive in sorted((FIXTURES / form).glob("*.npz")):
        with np.load(archive) as file:
            arrays = {name: file[name] for name in file.files}
        contents[archive.stem] = HistoryBatch(arrays.pop("user_ids"), arrays.pop("offsets"), arrays)
    return path, contents


def kinds_of_blocks(path: Path) -> set[bool]:
    """Whether there are blocks of one user, and shared ones."""
    with SeqVault(path, schema=None, read_only=True) as store:
        tables = store._access.state.tables
        return {shared for table in tables for shared in is_shared(table.index.live()).tolist()}


def holds(store: SeqVault, contents: dict[str, HistoryBatch]) -> None:
    for name, expected in contents.items():
        same(store.read_last(expected.user_ids, 1 << 40, sequence=name), expected)


@pytest.mark.parametrize("form", FORMATS)
def test_store_of_a_promised_format_is_read_as_it_was_written(form: str, tmp_path: Path) -> None:
    path, contents = copy_of(form, tmp_path)
    files = {file: file.read_bytes() for file in path.iterdir()}
    with SeqVault(path, schema=None, read_only=True) as store:
        assert {kind.name for kind in store.sequences} == set(contents)
        holds(store, contents)
    assert {file: file.read_bytes() for file in path.iterdir()} == files


@pytest.mark.parametrize("form", FORMATS)
def test_store_of_a_promised_format_is_written_on(form: str, tmp_path: Path) -> None:
    path, contents = copy_of(form, tmp_path)
    behaviours = contents["behaviours"]
    user, end = behaviours.user_ids[:1], int(behaviours.offsets[1])
    with SeqVault(path, schema=None) as store:
        holds(store, contents)
        store.append(*numbered(user, [int(behaviours.columns["time_s"][end - 1])], first=77))
    longer = {name: np.insert(values, end, 0) for name, values in behaviours.columns.items()}
    longer["time_s"][end], longer["item_id"][end] = longer["time_s"][end - 1], 77
    offsets = behaviours.offsets + (np.arange(len(behaviours.offsets)) > 0)
    contents["behaviours"] = HistoryBatch(behaviours.user_ids, offsets, longer)
    for _ in range(2):
        with SeqVault(path, schema=None) as store:
            holds(store, contents)
            store.compact(full=True)
    assert check_store(path).sound


@pytest.mark.parametrize("form", FORMATS)
def test_fixture_holds_every_kind_of_file(form: str, tmp_path: Path) -> None:
    path, _ = copy_of(form, tmp_path)
    report = check_store(path)
    assert report.sound
    assert {file.name.partition("-")[0] for file in report.files} == {
        "MANIFEST",
        "behaviours",
        "orders",
        "wal",
    }
    assert kinds_of_blocks(path) == ({True, False} if form == "format-4" else {False})


def test_what_an_older_format_has_of_short_histories_is_shared_once_it_is_rewritten(tmp_path: Path) -> None:
    path, contents = copy_of("format-3", tmp_path)
    with SeqVault(path, schema=None, background=False) as store:
        store.compact()
    assert kinds_of_blocks(path) == {False}
    with SeqVault(path, schema=None, background=False) as store:
        store.compact(full=True)
        holds(store, contents)
    assert True in kinds_of_blocks(path)
