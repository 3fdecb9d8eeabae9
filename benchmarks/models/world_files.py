"""Worlds as files, so that one process draws the next while others train on the last.

python benchmarks/models/world_files.py FOLDER WORLD:SEED,SEED ... [--jobs N] [--users N]

A world is a preset or one of CHANGED. A real log becomes such a file by benchmarks/models/real_log.py, and is
then read as a world.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.traffic.examples import ExampleArrays, log_examples
from simulator.world.config import WorldConfig, preset
from simulator.world.world import build_world

if TYPE_CHECKING:
    from laser.examples import ExampleSet

SPLITS = ("train", "holdout")
FACTS = "facts.json"  # of a real log
FAILED = "failed"  # a file that whoever draws leaves behind when it gives up
BEHAVIOURS = ("category", "action", "scene", "dwell_s", "time_s")
Made = dict[str, "ExampleSet"]
#: Name: the preset and what is changed in it.
CHANGED: dict[str, tuple[str, dict[str, Any]]] = {
    # Twice the history, half the users; interests have periods twice as long, so that old behaviours matter.
    "loud-10k": (
        "loud",
        {"users": 50_000, "history_max": 10_000, "history_median": 10_000.0, "period_max": 12_000.0},
    ),
    "loud-active": ("loud", {"dormant_click": 0.0}),  # only interests that are active now draw clicks
    "loud-40": ("loud", {"categories": 40}),  # a fifth of them: more behaviours on a candidate's own
    "quick-40": ("quick", {"categories": 40, "department": 8}),  # nothing relates those of a department
    # Five departments of eight: users, histories and ads of quick-40, b0 such that as many ads are clicked.
    "quick-40-related": ("quick", {"categories": 40, "department": 8, "related": 0.5, "b0": -3.69}),
    # A taste for single items: every two ads are a category of their own, eight of them a department.
    "quick-items": ("quick", {"categories": 1000, "department": 8, "related": 0.5, "b0": -3.28}),
}


def world_config(name: str, users: int | None = None) -> WorldConfig:
    """The parameters of a preset or a changed one, with so many users."""
    base, changes = CHANGED.get(name, (name, {}))
    return preset(base, **changes | ({} if users is None else {"users": users}))


def drawn(name: str, seed: int, users: int | None, jobs: int) -> dict[str, ExampleArrays]:
    """Both splits of a world's log, over the same arrays of behaviours."""
    world = build_world(world_config(name, users), seed, jobs=jobs)
    return {split: log_examples(world.behaviours, world.log, split) for split in SPLITS}


def examples_of(name: str, seed: int, users: int | None = None, jobs: int = 1) -> Made:
    """The same as examples."""
    from laser.examples import ExampleSet  # imports torch, which the processes that draw need not

    return {split: ExampleSet(**vars(made)) for split, made in drawn(name, seed, users, jobs).items()}


def write(folder: Path, name: str, seed: int, users: int | None, jobs: int) -> None:
    """Draw a world and save it."""
    save(folder, name, seed, drawn(name, seed, users, jobs))


def save(
    folder: Path, name: str, seed: int, made: dict[str, Any], facts: dict[str, Any] | None = None
) -> None:
    """Save both splits, over the same behaviours; the folder appears whole.

    Args:
        made: arrays or examples by split.
        facts: of a real log, "categories", "ads" and "scenes" among them.
    """
    partial = folder / f".{name}-{seed}"
    shutil.rmtree(partial, ignore_errors=True)  # of a call that was stopped
    partial.mkdir(parents=True)
    for column in BEHAVIOURS:
        values = getattr(made["train"], column)
        np.save(partial / f"{column}.npy", values.astype(np.int32) if column == "time_s" else values)
    for split in SPLITS:
        columns = {k: v for k, v in vars(made[split]).items() if k not in BEHAVIOURS and v is not None}
        np.savez(partial / f"{split}.npz", **columns)
    if facts is not None:
        (partial / FACTS).write_text(json.dumps(facts) + "\n")
    partial.rename(folder / f"{name}-{seed}")


def read(folder: Path, name: str, seed: int) -> Made:
    """A saved world, waiting until it is there; behaviours are mapped, not read, so processes share them.

    Raises:
        FileNotFoundError: whoever draws it gave up.
    """
    from laser.examples import ExampleSet

    path = folder / f"{name}-{seed}"
    while not path.exists():
        if (folder / FAILED).exists():
            raise FileNotFoundError(f"{path} is not there and drawing worlds has failed. See its output.")
        time.sleep(0.2)
    shared = {column: np.load(path / f"{column}.npy", mmap_mode="c") for column in BEHAVIOURS}
    return {split: ExampleSet(**shared, **np.load(path / f"{split}.npz")) for split in SPLITS}


def facts_of(folder: Path, name: str, seed: int) -> dict[str, Any] | None:
    """What a saved log is; None where the file is a generated world."""
    path = folder / f"{name}-{seed}" / FACTS
    return json.loads(path.read_text()) if path.exists() else None


def drop(folder: Path, name: str, seed: int) -> None:
    """Forget a saved world."""
    shutil.rmtree(folder / f"{name}-{seed}", ignore_errors=True)


def forget_failure(folder: Path) -> None:
    """Before worlds are drawn again: an earlier call's failure says nothing about this one."""
    (folder / FAILED).unlink(missing_ok=True)


def command() -> None:
    """Draw and save worlds one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("worlds", nargs="+")
    parser.add_argument("--jobs", type=int, default=max((os.cpu_count() or 2) - 2, 1))
    parser.add_argument("--users", type=int, help="the preset's by default")
    args = parser.parse_args()
    try:
        for text in args.worlds:
            name, _, seeds = text.partition(":")
            for seed in (seeds or "1").split(","):
                start_s = time.perf_counter()
                if not (args.folder / f"{name}-{seed}").exists():
                    write(args.folder, name, int(seed), args.users, args.jobs)
                print(f"{name}:{seed} there after {time.perf_counter() - start_s:.1f} s", flush=True)
    except BaseException:
        args.folder.mkdir(parents=True, exist_ok=True)
        (args.folder / FAILED).touch()
        raise


if __name__ == "__main__":
    command()
