"""A quick measurement of a store's own reads on this machine: warm, one thread, real users.

Source: the read sizes are those of docs/store-benchmarks.md, whose programs compare stores thoroughly.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqvault.query import NO_LIMIT
from seqvault.schema import Array

if TYPE_CHECKING:
    from seqvault.vault.store import SeqVault

__all__ = ["SIZES", "ReadFigures", "measure_reads"]

SIZES: tuple[int | None, ...] = (200, 1_000, 10_000, None)
"""Behaviours a read asks for; None for a whole history."""

# Users looked at to find those with enough behaviours; reading all lengths of a large store takes too long.
_SAMPLE = 4_000
_USERS = 200
_ROUNDS = 5


@dataclass(frozen=True)
class ReadFigures:
    """What reading one user's newest n behaviours costs.

    Attributes:
        n: behaviours asked for; None for all.
        users, reads: how many different users were read, and how often in all.
        behaviours: mean number returned.
        wall_p50_us, wall_p99_us: of a call, in microseconds of wall time.
        cpu_us: mean processor time of a call, in microseconds.
        read_bytes: mean bytes of the blocks a read touches.
        returned_bytes: mean bytes of the columns returned.
    """

    n: int | None
    users: int
    reads: int
    behaviours: float
    wall_p50_us: float
    wall_p99_us: float
    cpu_us: float
    read_bytes: float
    returned_bytes: float


def measure_reads(
    store: "SeqVault",
    *,
    sequence: str | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ReadFigures]:
    """Measure reads of every size some user has enough behaviours for.

    Users are drawn by length, as if each behaviour were a request; those of a size are read in a fresh order
    every round, the first of which only warms the caches.

    Args:
        on_progress: called with (sizes done, sizes) before each size.

    Raises:
        DamagedDataError: a user's bytes are damaged; `laser-ab store check` finds all of them.
    """
    rng = np.random.default_rng(seed)
    users = store.users(sequence)
    if len(users) > _SAMPLE:
        users = rng.choice(users, _SAMPLE, replace=False)
    # A few users at a time: whole histories of thousands would not fit into memory.
    runs = [users[first : first + 64] for first in range(0, len(users), 64)]
    read = [store.read_last(run, NO_LIMIT, columns=["time_s"], sequence=sequence).lengths for run in runs]
    lengths = np.concatenate([np.empty(0, "i8"), *read])
    figures = []
    for done, n in enumerate(SIZES):
        on_progress(done, len(SIZES))
        enough = lengths >= (n or 1)
        if enough.any():
            drawn = _drawn(rng, users[enough], lengths[enough])
            figures.append(_measure(store, drawn, n, sequence, rng))
    on_progress(len(SIZES), len(SIZES))
    return figures


def _drawn(rng: np.random.Generator, users: Array, lengths: Array) -> Array:
    count = min(_USERS, len(users))
    return rng.choice(users, count, replace=False, p=lengths / lengths.sum())


def _measure(
    store: "SeqVault", users: Array, n: int | None, sequence: str | None, rng: np.random.Generator
) -> ReadFigures:
    asked = NO_LIMIT if n is None else n
    wall_s: list[float] = []
    cpu_s = 0.0
    rows = returned = touched = 0
    for user in users.tolist():
        batch = store.read_last(np.array([user], "u8"), asked, sequence=sequence)
        rows += int(batch.offsets[-1])
        returned += sum(values.nbytes for values in batch.columns.values())
        touched += sum(size for _, _, size in store.locate(user, asked, sequence=sequence))
    for _ in range(_ROUNDS):
        for user in rng.permutation(users):
            one = np.array([user], "u8")
            cpu, start = time.thread_time(), time.perf_counter()
            store.read_last(one, asked, sequence=sequence)
            wall_s.append(time.perf_counter() - start)
            cpu_s += time.thread_time() - cpu
    p50, p99 = np.percentile(wall_s, (50, 99)) * 1e6
    count = len(users)
    return ReadFigures(
        n=n,
        users=count,
        reads=len(wall_s),
        behaviours=rows / count,
        wall_p50_us=float(p50),
        wall_p99_us=float(p99),
        cpu_us=cpu_s / len(wall_s) * 1e6,
        read_bytes=touched / count,
        returned_bytes=returned / count,
    )
