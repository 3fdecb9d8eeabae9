"""Measure the stages of a service-time profile with real calls.

The caller builds the callables (over real stores and models) and prepares their inputs, so that a
call does the stage's work and nothing else. Every round visits all points in a fresh order, so that
a drift of the machine (frequency, neighbours) spreads over the points instead of tilting the grid. A
visit takes several samples in a row, after calls that are not kept: a server does the same kind of
work again and again, and one that changes it at every call pays for cold caches that a server
does not (twice the time of a small model's batch). The garbage collector is off meanwhile. No
sample of a visit is dropped: a stall the machine had is part of the spread.
"""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np

from simulator.serving.profile import MIN_SAMPLES, Machine, Samples
from simulator.serving.service_times import ReadSeconds

P = TypeVar("P")
WARM_UP = 2  # calls of a visit that are not kept
VISIT = 10  # samples of a visit
_ORDER_SEED = 0
_KEPT_DIGITS = 6  # a microsecond's millionth: below any clock, and the file stays small


def measure_store(
    read: Callable[[int], ReadSeconds], histories: Sequence[int], repeats: int = 200, warm_up: int = WARM_UP
) -> dict[int, Samples]:
    """Charged seconds (own_s) of reading a request's newest behaviours.

    Args:
        read: history -> what the store says of one read, such as
            `lambda h: store.timed_read_last(users.next(), h)[1]`. Read another user each time: a
            profile of one cached user is a profile of the cache.
        histories: lengths to visit.
        repeats: samples per point, at least 100.
        warm_up: calls of a visit before its first sample.

    Raises:
        ValueError: too few repeats or no points.
    """
    return _spread(histories, lambda h: read(h).own_s, repeats, warm_up)


def measure_transport(
    move: Callable[[int], object], histories: Sequence[int], repeats: int = 200, warm_up: int = WARM_UP
) -> dict[int, Samples]:
    """Seconds of packing and unpacking a history; args and errors as `measure_store`.

    Args:
        move: history -> packs and unpacks a prepared history of that length.
    """
    return _spread(histories, lambda h: _seconds(move, h), repeats, warm_up)


def measure_scoring(
    score: Callable[[int, int, int], object],
    histories: Sequence[int],
    candidates: Sequence[int],
    batches: Sequence[int],
    repeats: int = 200,
    warm_up: int = WARM_UP,
) -> dict[tuple[int, int, int], Samples]:
    """Seconds of scoring one batch, by (history, candidates, batch); errors as `measure_store`.

    Args:
        score: (history, candidates, batch) -> scores a prepared batch; a GPU is synchronised
            before it returns.
        histories, candidates, batches: values to combine.
        repeats, warm_up: as in `measure_store`.
    """
    points = list(product(histories, candidates, batches))
    return _spread(points, lambda p: _seconds(score, *p), repeats, warm_up)


def _seconds(call: Callable[..., object], *args: int) -> float:
    start_s = time.perf_counter()
    call(*args)
    return time.perf_counter() - start_s


def _spread(
    points: Iterable[P], sample: Callable[[P], float], repeats: int, warm_up: int
) -> dict[P, Samples]:
    grid = list(dict.fromkeys(points))
    if repeats < MIN_SAMPLES or not grid:
        raise ValueError(
            f"Found {repeats} repeats of {len(grid)} points, expected at least {MIN_SAMPLES} repeats of at "
            "least one point. Raise repeats or pass points."
        )
    taken: list[list[float]] = [[] for _ in grid]
    order = np.random.default_rng(_ORDER_SEED)
    collecting = gc.isenabled()
    gc.disable()
    try:
        while len(taken[0]) < repeats:
            kept = min(VISIT, repeats - len(taken[0]))
            for i in order.permutation(len(grid)).tolist():
                for _ in range(warm_up):
                    sample(grid[i])
                taken[i] += [sample(grid[i]) for _ in range(kept)]
    finally:
        if collecting:
            gc.enable()
    return {
        point: tuple(sorted(float(f"{s:.{_KEPT_DIGITS}g}") for s in samples))
        for point, samples in zip(grid, taken, strict=True)
    }


def this_machine(gpu: str | None = None) -> Machine:
    """The machine a measurement runs on.

    Args:
        gpu: its name, from whoever holds it.
    """
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(cpu=cpu, cores=cores, memory_gib=round(memory, 1), gpu=gpu)
