"""Whole experiments from nothing, beside an earlier commit: the demo, and a million requests of `quick`.

    python benchmarks/simulation/from_nothing.py --before CHECKOUT [--quick] [--json] [--out FILE]

CHECKOUT is a worktree of commit b8ab8cb: `git worktree add CHECKOUT b8ab8cb`. Both programs run by this
Python; each run is a process of its own, without kept scores or models, on two workers, after a small run of
the same program that compiles its kernels.

The million is what does not grow with requests (world, training, stores: a run of `quick` from nothing with
few requests) and a request's cost times the rest. That cost is the difference of two runs in a smaller world
with a smaller log: histories, candidates, models and ladders are those of `quick`, so a request costs the
same there, while world and training, whose CPU seconds vary by more than some requests cost, are a tenth.
Rows hold the paths of clicks that the truth took: a million may need others.

The demo takes .57 to .66 of the CPU (bar .6: missed in some hours of these shared cores, met in others)
and as much of the wall time (.35: missed); a million takes 2.4 to 3.3 times less CPU (5: missed).
Ratios depend on the cores: on slower ones without AVX-512, at commit a0d50aa, they were .56, .60 and
3.6; there the earlier commit took 146 CPU seconds for the demo, here 74 to 92, and this one 82 and 48
to 61. What limits them: training, most of the demo's CPU seconds, is 1.2 to 1.3 times faster than
before (`train_cpu`); of a request, .4 to .9 ms, most is LASER's multiplications, which one core does
twice as fast as before (`cpu_laser1000`).

The wall time of two workers is that of LASER's training, on one core. Of the 51 CPU seconds that the demo
took in one process of a busy machine, 28 are that. Before it come 4 of imports, plan and world; behind it
7 of LASER's scores, which begin as soon as it is trained, and beside these its calibration (3); the
market and the scorecard take .4. By then the other core has trained and calibrated DIN and served the
control (9). So the longest path was 42 of these seconds and is 39: an arm is served when its own models
are trained. Stores are filled in .3 s, timing planes and clocks made in .2, so nothing of that is worth
beginning earlier; LASER's scores in two processes would save 2.

The wall's bar asks for a training in half the time. In two halves, as two threads could take them with
gradients added in a fixed order, its step took a tenth to two fifths more CPU, for everything small is
done twice: it would be paid for by the CPU's bar and by `train_cpu`.

--quick takes the demo's world for the quick one, and a fifth of its requests for the demo.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.result import Measured, bar, options, show

SEED = 7
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-c", "from simulator.cli import main; main()"]
MILLION = 1_000_000
# A world and a log in which a request costs what it does in `quick`, and all else little.
SMALLER = "users = 4000\nlog_requests = 2"
EXPERIMENT = """
seed = 7
[traffic]
preset = "{preset}"
load = 0.6
[traffic.world]
requests = {requests}
{world}
[arms.control]
store = "lastn"
model = "din"
history = 50
[arms.treatment]
store = "seqvault"
model = "laser"
history = 1000
"""


@dataclass(frozen=True)
class Spent:
    """What a run took: CPU and wall seconds, worker processes included, and the paths of its truth."""

    cpu_s: float
    wall_s: float
    paths: int | None


def spent(root: Path, *arguments: str) -> Spent:
    """A run by `laser-ab` of a checkout.

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
        paths = json.loads(Path(folder, "run", "scorecard.json").read_text()).get("truth", {}).get("paths")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Spent(used, wall_s, paths)


def measured(root: Path, quick: bool) -> dict[str, Any]:
    """One program: the demo's seconds, and a million's."""
    with TemporaryDirectory(prefix="from-nothing-") as folder:
        file = Path(folder) / "experiment.toml"

        def run(requests: int, preset: str = "demo" if quick else "quick", world: str = "") -> Spent:
            file.write_text(EXPERIMENT.format(preset=preset, requests=requests, world=world))
            return spent(root, "run", str(file))

        run(600, "demo", "users = 200\nhistory_max = 200")
        demo = ("--set", "traffic.world.requests=2600") if quick else ()
        shown = spent(root, "run", str(root / "examples" / "demo.toml"), *demo)
        few, many = (500, 2_500) if quick else (2_000, 12_000)
        whole, cheap, dear = run(few), run(few, world=SMALLER), run(many, world=SMALLER)
    slope_s = (dear.cpu_s - cheap.cpu_s) / (many - few)
    return {
        "program": "this" if root == ROOT else "b8ab8cb",
        "demo_cpu_s": shown.cpu_s,
        "demo_wall_s": shown.wall_s,
        "requests": [few, few, many],
        "run_cpu_s": [whole.cpu_s, cheap.cpu_s, dear.cpu_s],
        "truth_paths": [whole.paths, cheap.paths, dear.paths],
        "request_cpu_ms": 1000 * slope_s,
        "million_cpu_s": whole.cpu_s + slope_s * (MILLION - few),
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
