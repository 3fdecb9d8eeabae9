"""Clocks and counters: thread and process CPU, wall time, bytes handed to the kernel for writing."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Took(NamedTuple):
    """What one call cost."""

    cpu_ns: int
    wall_ns: int
    rows: int


def timed(call: Callable[[], int]) -> Took:
    """Thread CPU and wall time of a call that returns how many rows it read."""
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    rows = call()
    cpu = time.thread_time_ns() - cpu
    return Took(cpu, time.perf_counter_ns() - wall, rows)


def bytes_written(process_id: int | str = "self") -> int:
    """Bytes a process has passed to write calls so far."""
    text = Path(f"/proc/{process_id}/io").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("wchar:")))


def resident_bytes() -> int:
    """Memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def own_core(child: int | None = None) -> Iterator[set[int]]:
    """Bind this process to the last core, and a child to the one before; gives the cores there were.

    Each side then has one core's caches to itself, as it would have in service, and shares them among its own
    engines only. On a machine of one core they share that.
    """
    before = os.sched_getaffinity(0)
    last, *others = sorted(before, reverse=True)
    os.sched_setaffinity(0, {last})
    if child is not None:
        os.sched_setaffinity(child, {others[0] if others else last})
    try:
        yield before
    finally:
        os.sched_setaffinity(0, before)


def summary(took: list[Took]) -> dict[str, float | int]:
    """Mean, P50 and P99 in µs of CPU and wall, and the mean rows of a read."""
    cpu, wall, rows = (np.array(column, "f8") for column in zip(*took, strict=True))
    return {
        "requests": len(took),
        "rows_mean": round(float(rows.mean()), 1),
        "cpu_mean_us": round(float(cpu.mean()) / 1e3, 2),
        "cpu_p50_us": round(float(np.percentile(cpu, 50)) / 1e3, 2),
        "cpu_p99_us": round(float(np.percentile(cpu, 99)) / 1e3, 2),
        "wall_p50_us": round(float(np.percentile(wall, 50)) / 1e3, 2),
        "wall_p99_us": round(float(np.percentile(wall, 99)) / 1e3, 2),
    }
