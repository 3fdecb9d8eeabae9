"""Drawing a world's blocks of users in several processes; numpy and the standard library only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from simulator.traffic.behaviours import COLUMNS
from simulator.world.config import WorldConfig
from simulator.world.generate import Block, Plan, generate_block
from simulator.world.users import block_count

_SHARED_MEMORY = Path("/dev/shm")  # where files are memory, on Linux
_A_DAY = 25  # behaviours of a user a day, at most on average
_held: list[tuple[Plan, Path]] = []  #: what a worker draws from and where it leaves behaviours, sent once


def drawn_blocks(plan: Plan, jobs: int) -> Iterator[Block]:
    """All blocks in order.

    Args:
        jobs: processes; 1 draws them here, one at a time.

    Raises:
        ValueError: jobs is below 1.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, expected 1 or more. Pass the processes to draw with.")
    numbers = range(block_count(plan.config))
    if jobs == 1:
        yield from (generate_block(plan, number) for number in numbers)
        return
    place = _SHARED_MEMORY if _has_room(plan.config) else None
    # "spawn": a caller may hold threads or a GPU, which a fork would copy half of.
    with (
        TemporaryDirectory(dir=place) as folder,
        get_context("spawn").Pool(jobs, _hold, (plan, Path(folder))) as pool,
    ):
        for number, block in enumerate(pool.imap(_drawn, numbers)):
            columns = {name: np.load(_file(Path(folder), number, name), mmap_mode="r") for name in COLUMNS}
            for name in COLUMNS:  # the mapping outlives the name
                _file(Path(folder), number, name).unlink()
            yield replace(block, behaviours=replace(block.behaviours, **columns))


def _has_room(config: WorldConfig) -> bool:
    """Whether all behaviours fit into memory's folder, which many a container has cut to 64 MB."""
    days = config.log_days + config.holdout_days + config.pre_days + config.days
    a_user = min(config.history_median, config.history_max) + _A_DAY * days
    room = config.users * a_user * sum(np.dtype(dtype).itemsize for dtype in COLUMNS.values())
    return os.access(_SHARED_MEMORY, os.W_OK) and shutil.disk_usage(_SHARED_MEMORY).free > room


def _hold(plan: Plan, folder: Path) -> None:
    _held.append((plan, folder))


def _drawn(number: int) -> Block:
    """A block whose behaviours are files: through a pipe a full-size world would take minutes."""
    plan, folder = _held[0]
    block = generate_block(plan, number)
    for name, column in block.behaviours.columns.items():
        np.save(_file(folder, number, name), column)
    empty = {name: np.empty(0, dtype) for name, dtype in COLUMNS.items()}
    return replace(block, behaviours=replace(block.behaviours, **empty))


def _file(folder: Path, number: int, name: str) -> Path:
    return folder / f"{number}-{name}.npy"
