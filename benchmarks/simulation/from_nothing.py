"""Whole experiments from nothing, beside an earlier commit: the demo, and a million requests of `quick`.

    python benchmarks/simulation/from_nothing.py --before CHECKOUT [--quick] [--json] [--out FILE]

CHECKOUT is a worktree of commit b8ab8cb: `git worktree add CHECKOUT b8ab8cb`. Both programs run by this
Python; each run is a process of its own, without kept scores or models, on two workers, after a small run of
the same program that compiles its kernels. The million is extrapolated in both: by the line through two
smaller runs of the same world, whose CPU seconds differ by what their requests cost. --quick takes the demo's
world for the quick one, and a fifth of its requests for the demo.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.result import Measured, bar, options, show

SEED = 7
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-c", "from simulator.cli import main; main()"]
MILLION = 1_000_000
EXPERIMENT = """
seed = 7
[traffic]
preset = "{preset}"
load = 0.6
[traffic.world]
requests = {requests}
[arms.control]
store = "lastn"
model = "din"
history = 50
[arms.treatment]
store = "seqvault"
model = "laser"
history = 1000
"""


def spent(root: Path, *arguments: str) -> tuple[float, float]:
    """CPU and wall seconds of `laser-ab` of a checkout, its worker processes included.

    Raises:
        RuntimeError: it fails.
    """
    with TemporaryDirectory(prefix="from-nothing-") as folder:
        own = {"LASER_AB_CACHE": f"{folder}/cache", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        before, start_s = os.times(), time.monotonic()
        done = subprocess.run(
            [*PROGRAM, *arguments, "--out", f"{folder}/run", "--jobs", "2"],
            cwd=folder,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            check=False,
        )
        wall_s, after = time.monotonic() - start_s, os.times()
    if done.returncode != 0:
        raise RuntimeError(f"{root}: {done.stderr.strip()[-300:]}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, wall_s


def measured(root: Path, quick: bool) -> dict[str, Any]:
    """One program: the demo's seconds, and a million's."""
    with TemporaryDirectory(prefix="from-nothing-") as folder:
        file = Path(folder) / "experiment.toml"

        def run(requests: int) -> float:
            preset = "demo" if quick else "quick"
            file.write_text(EXPERIMENT.format(preset=preset, requests=requests))
            return spent(root, "run", str(file))[0]

        small = ("traffic.world.users=200", "traffic.world.requests=600", "traffic.world.history_max=200")
        file.write_text(EXPERIMENT.format(preset="demo", requests=600))
        spent(root, "run", str(file), *(part for each in small for part in ("--set", each)))
        demo = ("--set", "traffic.world.requests=2600") if quick else ()
        cpu_s, wall_s = spent(root, "run", str(root / "examples" / "demo.toml"), *demo)
        few, many = (1_000, 4_000) if quick else (10_000, 40_000)
        few_s, many_s = run(few), run(many)
    slope_s = (many_s - few_s) / (many - few)
    return {
        "program": "this" if root == ROOT else "b8ab8cb",
        "demo_cpu_s": cpu_s,
        "demo_wall_s": wall_s,
        "requests": [few, many],
        "run_cpu_s": [few_s, many_s],
        "million_cpu_s": many_s + slope_s * (MILLION - many),
    }


def measure(quick: bool, before: Path | None) -> Measured:
    """Both programs, and their ratios."""
    names = (("million_cpu_ratio", 5.0, 10.0, "higher"), ("demo_cpu_ratio", 0.6, 0.4, "lower"))
    if before is None:
        note = "Not measured without --before: a checkout of commit b8ab8cb."
        return [{"note": note}], [bar(n, None, b, s, better) for n, b, s, better in names]
    here, there = measured(ROOT, quick), measured(before.resolve(), quick)
    return [here, there], [
        bar("million_cpu_ratio", there["million_cpu_s"] / here["million_cpu_s"], 5.0, 10.0),
        bar("demo_cpu_ratio", here["demo_cpu_s"] / there["demo_cpu_s"], 0.6, 0.4, "lower"),
        bar("demo_wall_ratio", here["demo_wall_s"] / there["demo_wall_s"], 0.35, 0.22, "lower"),
    ]


def main() -> None:
    """Parse the command line, measure, print."""
    parser = options(__doc__)
    parser.add_argument("--before", type=Path, help="a checkout of commit b8ab8cb")
    args = parser.parse_args()
    show("from_nothing", SEED, args, measure(args.quick, args.before))


if __name__ == "__main__":
    main()
