"""One writer: a second is refused, in this process and in another, until the first is gone or dead."""

from pathlib import Path

import pytest
from nursery import Nursery
from vaults import open_vault

from seqvault import StoreLockedError


def try_to_write(folder: str) -> str:
    try:
        with open_vault(folder):
            return "opened"
    except StoreLockedError:
        return "locked"


def die_holding_the_lock(folder: str) -> None:
    store = open_vault(folder)
    (Path(folder).parent / "held").touch()
    while store is not None:
        store.flush()


def test_a_second_writer_is_refused(tmp_path: Path, nursery: Nursery) -> None:
    folder = tmp_path / "vault"
    with open_vault(folder):
        assert nursery.value("test_two_writers:try_to_write", folder=str(folder)) == "locked"
        with pytest.raises(StoreLockedError):
            open_vault(folder)
        with open_vault(folder, read_only=True):
            pass
    assert nursery.value("test_two_writers:try_to_write", folder=str(folder)) == "opened"


def test_a_killed_writer_holds_no_lock(tmp_path: Path, nursery: Nursery) -> None:
    folder = tmp_path / "vault"
    held = tmp_path / "held"
    ended = nursery.run("test_two_writers:die_holding_the_lock", 0.05, ready=held, folder=str(folder))
    assert ended["end"] == "killed by SIGKILL"
    with open_vault(folder):
        pass
