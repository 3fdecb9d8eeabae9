"""A plain terminal, and a store's folder for the tests of `laser-ab store`."""

from pathlib import Path

import pytest
from store_folders import KINDS, fill

from seqvault.vault import SeqVault


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with SeqVault(tmp_path / "store", sequences=KINDS, block_rows=128, background=False) as store:
        fill(store)
    return tmp_path / "store"
