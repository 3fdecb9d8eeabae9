"""Writers that pass the kill points, and die, or lose their folder, at the one they are given."""

import os
import signal
from collections import Counter
from pathlib import Path

import killed_writer
import numpy as np
from killed_writer import Acks
from streams import standard_streams
from vaults import open_vault

from seqvault import StoreError
from seqvault.vault.disk import points

VARIANTS = ("write", "threads")
_NEVER_S = 3600.0


def passed(variant: str, folder: str, firsts: dict[str, int], acks: str) -> dict[str, int]:
    """How often a variant of the workload passes each point."""
    counts: Counter[str] = Counter()
    points.hook = lambda name: counts.update([name])
    _run(variant, folder, firsts, acks)
    return dict(counts)


def die(variant: str, folder: str, firsts: dict[str, int], acks: str, point: str, count: int) -> None:
    """Run a variant and kill this process when it passes `point` for the count-th time."""
    left = count

    def pass_by(name: str) -> None:
        nonlocal left
        left -= name == point
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    points.hook = pass_by
    _run(variant, folder, firsts, acks)


def lose(folder: str, other: str, acks: str, point: str, count: int) -> str | None:
    """Write; at the count-th pass of `point` the folder is moved away and `other` takes its place.

    Returns:
        What the writer stopped with; None where it passed the point less often.
    """
    left = count

    def replace(name: str) -> None:
        nonlocal left
        left -= name == point
        if left == 0:
            points.hook = None
            Path(folder).rename(f"{folder}-own")
            Path(other).rename(folder)

    points.hook = replace
    noted, stream = Acks(acks), standard_streams()[0]
    try:
        with open_vault(folder, seal_rows=150) as store:
            for number in range(200):
                noted.issued(stream.number, number)
                stream.operation(number).run(store)
                noted.acked(stream.number, number, store.durable_sequence)
                if number % 30 == 29 and left > 0:
                    store.compact(full=number % 60 == 59)
                    store.snapshot(f"{folder}-snapshot-{number}")
    except StoreError as error:
        return None if left > 0 else str(error)
    return None


def _run(variant: str, folder: str, firsts: dict[str, int], acks: str) -> None:
    if variant == "threads":
        killed_writer.write(folder, firsts, acks, 0, {"background": True, "seal_rows": 150}, True)
    else:
        _write(Path(folder), firsts, acks)


def _write(folder: Path, firsts: dict[str, int], acks: str) -> None:
    """Every kind of operation and maintenance, and a reopening that finds work for recovery."""
    noted = Acks(acks)
    streams = standard_streams()
    numbers = {stream.number: firsts[str(stream.number)] for stream in streams}
    rng = np.random.default_rng(sum(numbers.values()))
    for turn in range(3):
        # Without the flusher's syncs, whose number is a matter of timing, a point has its count in every run.
        with open_vault(folder, flush_interval_s=_NEVER_S) as store:
            for step in range(60):
                stream = streams[int(rng.integers(len(streams)))]
                number = numbers[stream.number]
                noted.issued(stream.number, number)
                stream.operation(number).run(store)
                noted.acked(stream.number, number, store.durable_sequence)
                numbers[stream.number] += 1
                if step % 15 == 14:
                    store.seal()
            store.flush()
            store.compact(full=turn == 1)
            store.snapshot(folder.parent / f"snapshot-{sum(numbers.values())}")
