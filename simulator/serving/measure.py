"""Measure the stages of a service-time profile with real calls.

The caller builds the cells: what is timed, and what a server does just before it. All cells of all stages,
stores and models are visited in every round, in a fresh order, so that a drift of the machine (frequency,
neighbours) spreads over all of them instead of tilting one. A visit takes several samples in a row, so that a
stretch of slowness is in the file as a stretch; before each of them comes, untimed, the work that precedes it
in service, because a call that is repeated finds its caches warm, and a server's does not. A visit's first
call is not counted: it follows another store or model, whose code and weights are in the caches, and took 1.2
to 2 times as long as the next. The garbage collector is off meanwhile, as it is in live serving. No other
sample is dropped: a stall is part of the spread.
"""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from simulator.draws import uniform
from simulator.serving.profile import MIN_SAMPLES, VISIT, Machine

_KEPT_DIGITS = 5  # below any clock's, and the file stays small


@dataclass
class Cell:
    """One point of a profile: what is called, and what it took.

    Args:
        place: "store/KEY", "transport" or "score/MODEL", as in `profile.places`.
        point: its coordinates there.
        before: what a server does just before, not timed.
        timed: the call; returns the seconds to charge, or None for those of the whole call.

    Attributes:
        wall_s, cpu_s: what it took, in the order of measurement; the thread's own CPU time beside it.
    """

    place: str
    point: tuple[int, ...]
    before: Callable[[], object]
    timed: Callable[[], float | None]
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def visit(self, samples: int) -> None:
        """Call it once, uncounted, then so many times."""
        had = len(self.wall_s)
        self.sample()
        self.cut(had)
        for _ in range(samples):
            self.sample()

    def sample(self) -> None:
        """Call it once."""
        self.before()
        # The thread's clock is a call of the kernel's, which took 3 us here: outside of what is measured.
        start_cpu_s, start_s = time.thread_time(), time.perf_counter()
        charged_s = self.timed()
        wall_s, cpu_s = time.perf_counter() - start_s, time.thread_time() - start_cpu_s
        self.wall_s.append(kept(wall_s if charged_s is None else charged_s))
        self.cpu_s.append(kept(cpu_s))

    def cut(self, samples: int) -> None:
        """Keep the first of them."""
        del self.wall_s[samples:], self.cpu_s[samples:]


def measure(
    cells: Sequence[Cell],
    repeats: int,
    *,
    again: int = 0,
    until_s: float = float("inf"),
    estimated: Callable[[float], object] = lambda _: None,
    round_done: Callable[[int, int], object] = lambda *_: None,
) -> None:
    """Fill the cells with samples, beside those they have.

    Args:
        cells: all of a profile.
        repeats: samples of each, rounded up to whole visits.
        again: which time these cells are measured; every time has orders of its own.
        until_s: on time.perf_counter's clock; then it ends with fewer repeats, never fewer than MIN_SAMPLES.
        estimated: told after the first, uncounted, round how many seconds all of it will take.
        round_done: told after each round, with the number of rounds.

    Raises:
        ValueError: fewer than MIN_SAMPLES repeats, or no cells.
    """
    if repeats < MIN_SAMPLES or not cells:
        raise ValueError(
            f"Found {repeats} repeats of {len(cells)} points, expected at least {MIN_SAMPLES} repeats of at "
            "least one point. Raise repeats or pass points."
        )
    rounds = -(-repeats // VISIT)
    names = np.arange(len(cells), dtype=np.uint64)
    had = [len(cell.wall_s) for cell in cells]
    with collector_off():
        for cell in cells:  # libraries, caches and pools come into being; captured graphs too
            cell.sample()
        start_s = time.perf_counter()
        for cell in cells:
            cell.sample()
        estimated((time.perf_counter() - start_s) * rounds * (VISIT + 1))
        for cell, count in zip(cells, had, strict=True):
            cell.cut(count)
        start_s = time.perf_counter()
        for done in range(rounds):
            order = np.argsort(uniform(again, f"profile round {done}", names), kind="stable")
            for i in order.tolist():
                cells[i].visit(VISIT)
            gc.collect()
            round_done(done + 1, rounds)
            now_s = time.perf_counter()
            round_s = (now_s - start_s) / (done + 1)
            if now_s + round_s > until_s and (done + 1) * VISIT >= MIN_SAMPLES:
                break


@contextmanager
def collector_off() -> Iterator[None]:
    """Without garbage collection: a pass over all that a process holds is no part of a stage's work."""
    collecting = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()


def kept(seconds: float) -> float:
    """A time with as many digits as a profile has."""
    return float(f"{seconds:.{_KEPT_DIGITS}g}")


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
