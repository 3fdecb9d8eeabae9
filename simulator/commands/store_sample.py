"""Histories drawn for a store to try commands on; they mean nothing, but have the shape of real ones."""

import numpy as np
from numpy.typing import NDArray

START_S = 1_700_000_000
_ITEMS, _CATEGORIES = 20_000, 300


def sample(users: int, seed: int) -> tuple[NDArray[np.uint64], dict[str, NDArray[np.int64]]]:
    """(N,) users and the columns of `seqvault.BEHAVIOURS`, (N,) each, of `users` histories.

    Lengths are lognormal with a median of 150, at most 5,000; items are popular by a power law, and each has
    one category.
    """
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(np.log(150), 1.2, users), 1, 5000).astype(np.int64)
    of_user = np.repeat(np.arange(users, dtype=np.uint64), lengths)
    rows = len(of_user)
    item = np.minimum(rng.zipf(1.2, rows), _ITEMS)
    columns = {
        "time_s": START_S + rng.integers(0, 90 * 86_400, rows),
        "item_id": item,
        "category": item * 7919 % _CATEGORIES,
        "action": rng.choice(5, rows, p=(0.8, 0.12, 0.04, 0.03, 0.01)),
        "scene": rng.integers(0, 3, rows),
        "dwell_s": np.minimum(rng.exponential(40, rows), 3600).astype(np.int64),
    }
    return of_user, columns
