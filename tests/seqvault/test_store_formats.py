"""Stores that released versions wrote, kept as files: every later version opens them.

`fixtures/format-N/store` is the folder, `contents.npz` the histories in it, as the memory store held them.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from histories import numbered, same

from seqvault import HistoryBatch, open_store

FIXTURES = Path(__file__).parent / "fixtures"
FORMATS = sorted(folder.name for folder in FIXTURES.iterdir())


def copy_of(form: str, folder: Path) -> tuple[Path, HistoryBatch]:
    """A writable copy of a fixture's store, and what it must hold."""
    path = shutil.copytree(FIXTURES / form / "store", folder / "store")
    with np.load(FIXTURES / form / "contents.npz") as file:
        arrays = {name: file[name] for name in file.files}
    return path, HistoryBatch(arrays.pop("user_ids"), arrays.pop("offsets"), arrays)


def test_every_released_format_has_a_fixture() -> None:
    assert "format-1" in FORMATS


@pytest.mark.parametrize("form", FORMATS)
def test_store_of_a_released_format_is_read_as_it_was_written(form: str, tmp_path: Path) -> None:
    path, expected = copy_of(form, tmp_path)
    files = {file: file.read_bytes() for file in path.iterdir()}
    with open_store("seqvault", path, read_only=True) as store:
        same(store.read_last(expected.user_ids, 1 << 40), expected)
        assert store.stats()["behaviours"] == expected.offsets[-1]
    assert {file: file.read_bytes() for file in path.iterdir()} == files


@pytest.mark.parametrize("form", FORMATS)
def test_store_of_a_released_format_is_written_on(form: str, tmp_path: Path) -> None:
    path, expected = copy_of(form, tmp_path)
    user = expected.user_ids[:1]
    last_s = int(expected.of(0)["time_s"][-1])
    with open_store("seqvault", path) as store:
        same(store.read_last(expected.user_ids, 1 << 40), expected)
        store.append(*numbered(user, [last_s], first=77))
    with open_store("seqvault", path) as store:
        same(
            store.read_last(expected.user_ids[1:], 1 << 40),
            HistoryBatch(
                expected.user_ids[1:],
                expected.offsets[1:] - expected.offsets[1],
                {name: values[expected.offsets[1] :] for name, values in expected.columns.items()},
            ),
        )
        items = store.read_last(user, 1 << 40).columns["item_id"]
        assert items.tolist() == [*expected.of(0)["item_id"].tolist(), 77]
