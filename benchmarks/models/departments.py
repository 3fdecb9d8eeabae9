"""What it gains on a real log that models know which department a category is of.

    python benchmarks/models/departments.py --drawn FOLDER --out FILE [--log complete-journey] [--seconds S]
        [--device auto] [--quick]

FOLDER is where benchmarks/models/real_log.py put the log; without it, what is trained on is the generated
world `quick-40-related`. Each model trains twice from each seed, as `laser.training.presets` recommends: with
rows of its own for each category, and with `departments`. With --quick there is one seed, and a generated
world has few users. The exit status is 130 where --seconds were over before all was trained.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.models.cells import Sizes, open_world
from benchmarks.models.study_plan import Training
from benchmarks.models.study_real import JOURNEY, SEED, SEEDS, gap_of, real_training
from benchmarks.models.study_train import rows_of
from benchmarks.models.world_files import facts_of, read
from benchmarks.result import options, show

#: Name: model, behaviours that it reads.
MODELS = {
    "laser 1,000": ("laser", 1000),
    "din 50": ("din", 50),
    "transformer 1,000": ("transformer", 1000),
}
TOLD = "with departments"
_GENERATED, _FEW_USERS = "quick-40-related", 300
_LONG = ("by_user", "config", "options")  # of a row: what is not kept
Row = dict[str, Any]


def trainings(log: str, departments: list[int], seeds: tuple[int, ...]) -> Iterator[Training]:
    """Each model from each seed, without and with departments."""
    for seed in seeds:
        for name, (model, history) in MODELS.items():
            yield real_training(log, seed, name, model, {}, history)
            told = {"departments": departments}
            yield real_training(log, seed, f"{name} {TOLD}", model, told, history)


def gap_rows(rows: list[Row]) -> list[Row]:
    """For each model what departments gain, over the seeds that have both; see `study_real.real_gap_rows`."""
    by = {(row["name"], row["train_seed"]): row for row in rows}
    found = []
    for name in MODELS:
        told = {seed: row for (other, seed), row in by.items() if other == f"{name} {TOLD}"}
        if pairs := [(row, by[name, seed]) for seed, row in told.items() if (name, seed) in by]:
            found.append({"gap": f"{name} {TOLD}", "to": name, **gap_of(pairs)})
    return found


def command() -> int:
    """Train, write, print; 130 where there was no time for all."""
    parser = options(__doc__)
    parser.add_argument("--drawn", type=Path, help="where the log's file is")
    parser.add_argument("--log", default=JOURNEY, help="the file's name")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no training after these")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    name, facts, made = _GENERATED, None, None
    if args.drawn is not None:
        name, facts, made = args.log, facts_of(args.drawn, args.log, SEED), read(args.drawn, args.log, SEED)
    sizes = Sizes(_FEW_USERS if args.quick else None, {}, 0)
    world = open_world(name, SEED, sizes, args.device, made, facts)
    start_s, rows, complete = time.perf_counter(), list[Row](), True
    for training in trainings(name, list(world.departments), SEEDS[: 1 if args.quick else None]):
        if time.perf_counter() - start_s > args.seconds:
            complete = False
            break
        rows += rows_of(training, world, args.device)
        print(training.name, training.train_seed, f"{rows[-1]['auc']:.5f}", file=sys.stderr, flush=True)
    kept = [{name: value for name, value in row.items() if name not in _LONG} for row in rows]
    show("departments", SEED, args, ([*kept, *gap_rows(rows)], []))
    return 0 if complete else 130


if __name__ == "__main__":
    sys.exit(command())
