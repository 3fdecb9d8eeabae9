"""A LastN store into a SeqVault: copied by ascending user, resumed where it stopped, compared at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seqvault.errors import StoreError
from seqvault.query import NO_LIMIT

if TYPE_CHECKING:
    from seqvault import HistoryBatch
    from seqvault.lastn import LastNStore
    from seqvault.vault.store import SeqVault

__all__ = ["compare", "copy"]

# Read together, and written together: memory holds two of the latter, or one read where that is more.
_USERS = 64
_ROWS = 1 << 20

Users = NDArray[np.uint64]


def copy(source: LastNStore, target: SeqVault) -> Iterator[tuple[int, int]]:
    """Copy the users that the target does not have yet; (users done, users of the source) behind each part.

    Whole users in ascending order, each part durable as a whole: what a target holds after an interruption
    is the first users of the source, and only behind them it goes on.

    Raises:
        StoreError: the target holds something else.
    """
    users = source.users()
    there = target.users()
    if not np.array_equal(there, users[: len(there)]):
        raise StoreError(
            f"{target.path} holds users that a migration of this store would not have left there: expected "
            "a new folder, or one in which that was interrupted"
        )
    done = len(there)
    yield done, len(users)
    waiting: list[HistoryBatch] = []
    while done < len(users):
        batch = source.read_last(users[done : done + _USERS], NO_LIMIT)
        waiting.append(batch)
        done += len(batch.user_ids)
        if done == len(users) or sum(int(each.offsets[-1]) for each in waiting) >= _ROWS:
            columns = {
                name: np.concatenate([each.columns[name] for each in waiting]) for name in target.schema.names
            }
            of_user = np.concatenate([np.repeat(each.user_ids, each.lengths) for each in waiting])
            target.bulk_load(of_user, columns)
            waiting = []
            yield done, len(users)


def compare(source: LastNStore, target: SeqVault) -> Iterator[tuple[int, int]]:
    """Compare every user of both, the source as it is now; (users done, users) behind each part.

    Raises:
        StoreError: they differ; who it is.
    """
    source.refresh()
    users = source.users()
    others = np.setxor1d(users, target.users())
    if len(others):
        _refuse(target, int(others[0]))
    for start in range(0, len(users), _USERS):
        asked = users[start : start + _USERS]
        expected, found = source.read_last(asked, NO_LIMIT), target.read_last(asked, NO_LIMIT)
        for i, user in enumerate(asked.tolist()):
            mine, its = found.of(i), expected.of(i)
            if any(not np.array_equal(mine[name], its[name]) for name in source.schema.names):
                _refuse(target, user)
        yield start + len(asked), len(users)


def _refuse(target: SeqVault, user: int) -> None:
    raise StoreError(
        f"{target.path} differs from the LastN store for user {user}: was one of them written to meanwhile? "
        "Stop its writer, and migrate into another folder"
    )
