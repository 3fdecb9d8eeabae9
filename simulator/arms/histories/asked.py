"""What is asked of a store to score some requests, and what it answers. No more is imported than a store.

Letters: B requests, N behaviours of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqvault.store import HistoryBatch, HistoryStore

MODEL_COLUMNS = ("time_s", "category", "action", "scene", "dwell_s")  # what models read; never the item id


@dataclass(frozen=True)
class Ask:
    """Each of some users' newest behaviours before a moment.

    Attributes:
        users: (B,) u8.
        newest: at most so many behaviours of each.
        before_s: (B,) i8, behaviours with time_s below it.
        at_s: (B,) f8, log time that ages count to.
    """

    users: NDArray[np.uint64]
    newest: int
    before_s: NDArray[np.int64]
    at_s: NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """Attributes:
    batch: the histories, in MODEL_COLUMNS.
    age_s: (N,) f4, the behaviours' ages.
    """

    batch: HistoryBatch
    age_s: NDArray[np.float32]


def answer(store: HistoryStore, ask: Ask) -> Answer:
    """Read.

    Raises:
        StoreError: the store is closed or damaged.
    """
    batch = store.read_last(ask.users, ask.newest, before_s=ask.before_s, columns=MODEL_COLUMNS)
    age_s = np.repeat(ask.at_s, batch.lengths) - batch.columns["time_s"]
    return Answer(batch, age_s.astype(np.float32))
