"""`laser-ab store migrate`: every user of a LastN store is in the SeqVault, or it says who is not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from seqvault import BEHAVIOURS, Column, HistorySchema, StoreError, open_store
from seqvault.lastn import LastNStore
from seqvault.vault import SeqVault
from simulator.cli import app
from simulator.commands import store_migrate

BIG = 2**64 - 1
USERS = [0, 3, 4, 900, 2**63, BIG]
IDS = np.array(USERS, "u8")
ROWS = 900


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(store_migrate, "_USERS", 2)
    monkeypatch.setattr(store_migrate, "_ROWS", 10)


def behaviours(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Of all USERS, in no order of time and with many equal times, whose order the items tell."""
    rng = np.random.default_rng(seed)
    users = rng.choice(IDS, ROWS)
    users[: len(IDS)] = IDS
    columns = {name: np.zeros(ROWS, "i8") for name in BEHAVIOURS.names}
    return users, {**columns, "time_s": rng.integers(0, 40, ROWS), "item_id": np.arange(ROWS)}


def migrate(source: Path, target: Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["store", "migrate", str(source), str(target)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def items(path: Path, kind: str) -> dict[int, list[int]]:
    """User -> items in order, by opening the store as it was made."""
    opened: Any = (
        LastNStore.as_made(path, read_only=True)
        if kind == "lastn"
        else SeqVault(path, schema=None, read_only=True)
    )
    with opened as store:
        users = store.users()
        batch = store.read_last(users, 10**6)
    return {user: batch.of(i)["item_id"].tolist() for i, user in enumerate(users.tolist())}


@pytest.mark.parametrize("layout", ["chunks", "behaviours", "blobs"])
def test_every_user_of_a_lastn_store_comes_over_in_order(layout: str, tmp_path: Path) -> None:
    with open_store("lastn", tmp_path / "old", layout=layout) as store:
        store.bulk_load(*behaviours(1))
        store.append(*behaviours(2))
        oracle = store.read_last(IDS, 10**6)
    said = migrate(tmp_path / "old", tmp_path / "new")
    assert f"{2 * ROWS:,} behaviours of {len(USERS)} users" in said
    found = items(tmp_path / "new", "seqvault")
    assert found == {user: oracle.of(i)["item_id"].tolist() for i, user in enumerate(USERS)}
    assert items(tmp_path / "old", "lastn") == found


def test_a_schema_of_ones_own_comes_over(tmp_path: Path) -> None:
    orders = HistorySchema("orders", 3, (Column("time_s", "i8", "s"), Column("price_cent", "u4")))
    with open_store("lastn", tmp_path / "old", schema=orders) as store:
        store.append([7, 7], {"time_s": [5, 5], "price_cent": [2**32 - 1, 0]})
    migrate(tmp_path / "old", tmp_path / "new")
    with SeqVault(tmp_path / "new", schema=None, read_only=True) as store:
        assert store.schema == orders
        assert store.read_last([7], 9).columns["price_cent"].tolist() == [2**32 - 1, 0]


def test_an_interrupted_migration_goes_on_behind_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store("lastn", tmp_path / "old") as store:
        store.append(*behaviours(1))
    loaded: list[list[int]] = []
    real = SeqVault.bulk_load

    def load(self: SeqVault, users: np.ndarray, *more: Any) -> bool:
        if len(loaded) == 1 and "new" in self.path.name:
            loaded.append([])
            raise StoreError("the power was cut, say")
        loaded.append(np.unique(users).tolist())
        return real(self, users, *more)

    monkeypatch.setattr(SeqVault, "bulk_load", load)
    migrate(tmp_path / "old", tmp_path / "new", code=1)
    migrate(tmp_path / "old", tmp_path / "new")
    assert loaded == [USERS[:2], [], USERS[2:4], USERS[4:]]
    assert items(tmp_path / "new", "seqvault") == items(tmp_path / "old", "lastn")
    # All there: nothing is loaded again, and all is compared.
    migrate(tmp_path / "old", tmp_path / "new")
    assert len(loaded) == 4


def test_what_is_written_behind_a_migration_is_found(tmp_path: Path) -> None:
    with open_store("lastn", tmp_path / "old") as store:
        store.append(*behaviours(1))
    migrate(tmp_path / "old", tmp_path / "new")
    with open_store("lastn", tmp_path / "old") as store:
        store.append([900], {name: [1] for name in BEHAVIOURS.names})
    assert "differs from the LastN store for user 900" in migrate(tmp_path / "old", tmp_path / "new", code=1)
    with SeqVault(tmp_path / "new") as store:
        store.append([900], {name: [1] for name in BEHAVIOURS.names})
    migrate(tmp_path / "old", tmp_path / "new")


def test_a_writer_at_work_is_noticed_by_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store("lastn", tmp_path / "old") as writer:
        writer.append(*behaviours(1))
        real = SeqVault.bulk_load

        def load(self: SeqVault, users: np.ndarray, *more: Any) -> bool:
            if users[-1] == BIG:
                writer.append([3], {name: [1] for name in BEHAVIOURS.names})
            return real(self, users, *more)

        monkeypatch.setattr(SeqVault, "bulk_load", load)
        assert "for user 3" in migrate(tmp_path / "old", tmp_path / "new", code=1)


def test_folders_that_are_no_source_or_no_target_are_left_alone(tmp_path: Path) -> None:
    assert "no LastN store here" in migrate(tmp_path / "none", tmp_path / "new", code=1)
    assert not (tmp_path / "new").exists()
    for name in ("old", "other"):
        with open_store("lastn", tmp_path / name) as store:
            store.append(*behaviours(1))
    assert "other" in migrate(tmp_path / "old", tmp_path / "other", code=1)
    with SeqVault(tmp_path / "mine") as mine:
        mine.append([5], {name: [1] for name in BEHAVIOURS.names})
    assert "would not have left there" in migrate(tmp_path / "old", tmp_path / "mine", code=1)
    assert list(items(tmp_path / "mine", "seqvault")) == [5]
