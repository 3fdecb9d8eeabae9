"""Which ads are eligible for a request: some match a lifelong interest, most are any ads.

Letters: n requests, k candidates of each.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from simulator.draws import uniform
from simulator.scratch import gathered
from simulator.world.catalogue import Categories
from simulator.world.config import WorldConfig
from simulator.world.users import UserTable

#: Attempts to find an ad not yet among the request's candidates from the source first drawn.
_PATIENCE = 6
#: Candidates drawn at once: what a draw keeps beside them then stays in some 100 MiB.
_AT_ONCE = 1 << 20


def draw_candidates(
    config: WorldConfig,
    seed: int,
    cause: str,
    users: UserTable,
    categories: Categories,
    user: NDArray[np.int64],
    request_id: NDArray[np.uint64],
    width: int,
    jobs: int = 1,
) -> NDArray[np.uint64]:
    """Distinct ads (n, width) for each request, each drawn on its own from (seed, cause, request, slot), in a
    temporary file (`simulator.scratch`).

    A slot comes from one of the user's lifelong interests, dead ones included, with probability
    `interest_candidates`, else from all ads evenly. An ad already taken by an earlier slot is drawn
    again; a user whose interests cover too few ads ends up with any ads there.

    Args:
        jobs: threads; the ads are the same for any number.
    """
    size = max(_AT_ONCE // width, 1)

    def draw(first: int) -> dict[str, NDArray[np.uint64]]:
        part = slice(first, first + size)
        drawn = _drawn(config, seed, cause, users, categories, user[part], request_id[part], width)
        return {"ads": drawn.astype(np.uint64)}

    with ThreadPoolExecutor(jobs) as threads:
        return gathered(threads.map(draw, range(0, max(len(user), 1), size)))["ads"]


def _drawn(
    config: WorldConfig,
    seed: int,
    cause: str,
    users: UserTable,
    categories: Categories,
    user: NDArray[np.int64],
    request_id: NDArray[np.uint64],
    width: int,
) -> NDArray[np.int64]:
    """As `draw_candidates`, all at once."""
    slot = np.arange(width)
    request = request_id[:, None]
    from_interest = uniform(seed, cause + "-source", request, slot) < config.interest_candidates
    ads = np.empty(from_interest.shape, dtype=np.int64)
    rows, cols = np.indices(ads.shape).reshape(2, -1)
    attempt = 0
    while len(rows):
        ids = request_id[rows]
        u = uniform(seed, cause + "-ad", ids, cols, attempt)
        v = uniform(seed, cause + "-interest", ids, cols, attempt)
        interest = np.floor(v * config.interests).astype(np.int64)
        category = users.category[user[rows], interest].astype(np.int64)
        low, high = categories.ads_offsets[category], categories.ads_offsets[category + 1]
        matching = categories.ads_by_category[low + np.floor(u * (high - low)).astype(np.int64)]
        anything = np.floor(u * config.ads).astype(np.int64)
        chosen = from_interest[rows, cols] & (attempt < _PATIENCE)
        ads[rows, cols] = np.where(chosen, matching, anything)
        rows, cols = _repeats(ads, rows)
        attempt += 1
    return ads


def _repeats(
    ads: NDArray[np.int64], touched: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, columns) holding an ad that an earlier column of the row holds; looks at touched rows only."""
    rows = np.unique(touched)
    order = np.argsort(ads[rows], axis=1, kind="stable")
    ordered = np.take_along_axis(ads[rows], order, axis=1)
    at, later = np.nonzero(ordered[:, 1:] == ordered[:, :-1])
    return rows[at], order[at, later + 1]
