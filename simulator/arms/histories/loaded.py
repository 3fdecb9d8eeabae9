"""A store that holds all at once what requests may find. Start at `load_whole`.

Reads are bounded in time, so a request finds there what it would find if behaviours were appended as the
trace advances. Nothing is timed here, and a store that does not change can be read by many processes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seqvault.store import HistoryStore
from simulator.inputs.prepare import Prepared

# Behaviours of a part: some 60 MB with what a store needs to sort and encode them. A store makes a file of
# each, so there are at most _PARTS.
_PART_ROWS, _PARTS = 2_000_000, 32


def load_whole(prepared: Prepared, store: HistoryStore, first: int = 0, newest: int | None = None) -> None:
    """Load an empty store with what the requests from `first` on may find, some users at a time.

    Args:
        newest: behaviours that a request reads of its user, at most; older ones are left out. None: all.

    Raises:
        StoreError: the disk is full.
    """
    for users, rows in _parts(prepared, first, newest):
        behaviours = prepared.world.behaviours
        store.bulk_load(users, {name: column[rows] for name, column in behaviours.columns.items()})
        behaviours.let_go()


def _parts(
    prepared: Prepared, first: int, newest: int | None
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64] | slice]]:
    """Whole users: (n,) the user of each behaviour, and which behaviours of the world they are."""
    behaviours, readable_s = prepared.world.behaviours, prepared.readable_before_s[first:]
    everyone = np.arange(len(behaviours.users))
    start = behaviours.offsets[:-1]
    if newest is not None:
        before = behaviours.count_before(everyone, np.full(len(everyone), readable_s.min(), np.float64))
        start = start + np.maximum(before - newest, 0)
    counts = behaviours.count_before(everyone, np.full(len(everyone), readable_s.max(), np.float64))
    lengths = np.maximum(behaviours.offsets[:-1] + counts - start, 0)
    running = np.cumsum(lengths)
    size = max(_PART_ROWS, -(-int(running[-1]) // _PARTS)) if len(running) else 1
    cuts = np.searchsorted(running, np.arange(size, int(running[-1]) if len(running) else 0, size), "right")
    for part in np.split(everyone, np.unique(cuts)):
        taken = lengths[part]
        ends = np.cumsum(taken)
        if not len(part) or ends[-1] == 0:
            continue
        rows = np.arange(ends[-1]) + np.repeat(start[part] - (ends - taken), taken)
        whole = rows[-1] - rows[0] + 1 == len(rows)
        yield (
            np.repeat(behaviours.users[part], taken),
            slice(int(rows[0]), int(rows[-1]) + 1) if whole else rows,
        )
