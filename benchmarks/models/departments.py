"""What it gains on a real log that models know which department a category is of.

    python benchmarks/models/departments.py --drawn FOLDER --out FILE [--log complete-journey]
        [--models laser-1000,transformer-1000,din-50] [--seeds 0,1,2,3,4] [--seconds S] [--device auto]

FOLDER is where benchmarks/models/real_log.py put the log. Each model trains twice from each seed, as
`laser.training.presets` recommends: with rows of its own for each category, and with `departments`. Trainings
that FILE holds are not done again, so that several calls make one table; exit status 130 says that some are
missing.
"""

import json
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.models.cells import Cell, open_world, trained_row
from benchmarks.models.real_gaps import seed_interval
from benchmarks.models.table import FULL
from benchmarks.models.world_files import facts_of, read
from benchmarks.result import options, result_of, show

WORLD_SEED = 1  # of a log's file
PROTOCOLS = APART, TOGETHER = "tuned", "departments"
Row = dict[str, Any]


def gap_rows(rows: list[Row]) -> list[Row]:
    """For each model, points of AUC by departments: mean over the seeds that both have, and its interval."""
    by = {(row["model"], row["protocol"], row["train_seed"]): row["auc"] for row in rows}
    found = []
    for model in dict.fromkeys(row["model"] for row in rows):
        seeds = [seed for name, protocol, seed in by if (name, protocol) == (model, TOGETHER)]
        gaps = [
            100 * (by[model, TOGETHER, seed] - by[model, APART, seed])
            for seed in seeds
            if (model, APART, seed) in by
        ]
        if gaps:
            found.append(
                {"gap": model, "pt": mean(gaps), "over_seeds": seed_interval(gaps), "seeds": len(gaps)}
            )
    return found


def command() -> int:
    """Train what is missing, write, print; 130 where there is more to do."""
    parser = options(__doc__)
    parser.add_argument("--drawn", type=Path, required=True, help="where the log's file is")
    parser.add_argument("--log", default="complete-journey")
    parser.add_argument("--models", default="laser-1000,transformer-1000,din-50")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no training after these")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    kept = json.loads(args.out.read_text())["rows"] if args.out and args.out.exists() else []
    rows: list[Row] = [row for row in kept if "model" in row]
    done = {Cell.of(row) for row in rows}
    cells = [
        Cell(args.log, WORLD_SEED, int(seed), protocol, model)
        for seed in args.seeds.split(",")[: 1 if args.quick else None]
        for model in args.models.split(",")
        for protocol in PROTOCOLS
    ]
    start_s = time.perf_counter()
    facts = facts_of(args.drawn, args.log, WORLD_SEED)
    world = open_world(args.log, WORLD_SEED, FULL, args.device, read(args.drawn, args.log, WORLD_SEED), facts)
    for cell in cells:
        if cell in done or time.perf_counter() - start_s > args.seconds:
            continue
        rows.append(trained_row(cell, world, FULL, args.device))
        done.add(cell)
        print(f"{cell}: {rows[-1]['auc']:.5f}, {rows[-1]['train_s']:.1f} s", file=sys.stderr, flush=True)
        if args.out:
            found = [*rows, *gap_rows(rows)]
            args.out.write_text(
                json.dumps(result_of("departments", WORLD_SEED, args.quick, found, [], args.commit), indent=1)
            )
    show("departments", WORLD_SEED, args, ([*rows, *gap_rows(rows)], []))
    return 0 if done >= set(cells) else 130


if __name__ == "__main__":
    sys.exit(command())
