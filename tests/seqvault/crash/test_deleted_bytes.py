"""A deleted user, a kill, a full compaction: none of the user's bytes is in any file of the store."""

import tempfile
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from counts import some
from nursery import Nursery
from specimen import CODECS
from streams import ALL, START_S
from tally import counted
from vaults import MEMORY, open_vault

# Marks no compression hides: any 6 of the id's 8 bytes would be found again.
FORGOTTEN = 0xC3A5_96E1_7B2D_4F88
KEPT = np.arange(1, 6, dtype="u8")


def marks() -> np.ndarray:
    """(60,) item ids only the forgotten user has."""
    return np.random.default_rng(99).integers(1 << 62, 1 << 63, 60, dtype="u8")


def rows(seed: int, user: int, items: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The user's rows, mixed with others'."""
    rng = np.random.default_rng(seed)
    users = np.concatenate((np.full(len(items), user, "u8"), rng.choice(KEPT, 40)))
    items = np.concatenate((items, rng.integers(0, 1 << 61, 40, dtype="u8")))
    columns = {"time_s": START_S + rng.integers(0, 10_000, len(users)), "item_id": items}
    for name in ("category", "action", "scene", "dwell_s"):
        columns[name] = rng.integers(0, 200, len(users))
    return users, columns


def write_delete_die(folder: str, options: dict[str, object]) -> None:
    """Sealed, compacted and logged rows of the user; the delete is acknowledged; the process dies."""
    store = open_vault(folder, **options)
    for seed, part in enumerate(np.split(marks(), 6)):
        store.append(*rows(seed, FORGOTTEN, part), batch_id=seed)
        if seed in (1, 3):
            store.seal()
        if seed == 2:
            store.compact(full=True)
    store.delete_user(FORGOTTEN)
    # The parent waits for this before the kill.
    (Path(folder).parent / "deleted").touch()
    while True:
        store.append(*rows(7, 1, np.arange(3, dtype="u8")))


def traces(folder: Path) -> list[str]:
    """Files that hold the user's id or one of the items, as bytes."""
    wanted = [int(value).to_bytes(8, "little") for value in (FORGOTTEN, *marks().tolist())]
    wanted += [piece[:6] for piece in wanted]
    return sorted(
        {path.name for path in folder.iterdir() if any(piece in path.read_bytes() for piece in wanted)}
    )


@pytest.mark.parametrize("codec", some(CODECS, 2))
def test_a_deleted_user_leaves_no_byte_behind(codec: str, nursery: Nursery) -> None:
    options = {"codec": codec, "block_rows": 8}
    with (
        tempfile.TemporaryDirectory(prefix="deleted-", dir=MEMORY) as root,
        counted("deleted users whose bytes are gone") as part,
    ):
        folder = Path(root) / "vault"
        deleted = Path(root) / "deleted"
        ended = nursery.run(
            "test_deleted_bytes:write_delete_die", 0.1, ready=deleted, folder=str(folder), options=options
        )
        assert ended["end"] == "killed by SIGKILL", ended
        assert traces(folder), "the search finds nothing even before the compaction"
        with open_vault(folder, **options) as store:
            assert len(store.read_last([FORGOTTEN], ALL).columns["item_id"]) == 0
            store.compact(full=True)
        assert traces(folder) == []
        with open_vault(folder, **options) as store:
            found = store.read_last(np.append(KEPT, [np.uint64(FORGOTTEN)]), ALL)
            assert len(found.of(len(KEPT))["item_id"]) == 0
            everything = set(chain.from_iterable(found.of(i)["item_id"].tolist() for i in range(len(KEPT))))
            assert everything
            assert not everything & set(marks().tolist())
        part.count += 1
