"""A run with kept scores and one more cell, beside an earlier commit; how time and memory grow with requests.

    python benchmarks/simulation/scale.py [--before CHECKOUT] [--most REQUESTS] [--quick] [--out FILE]

CHECKOUT is a worktree of commit b8ab8cb: `git worktree add CHECKOUT b8ab8cb`. Every measurement is a process
of its own (`one_cell.py`), with a cache of its own, one thread. In both programs scores are at hand and a
cell is everything else: the timing plane of both arms, the worlds of the market, users, truth and scorecard.
A run also makes the world and writes the tables. CPU seconds are of a machine that may be busy; the ratio of
the same run is what counts.

What is kept of every request lies in temporary files. What grows in memory is the users' table, the orders of
the auctions, and the columns that the analysis sorts and counts.

--most measures a still larger run. Where 10^7 requests were not measured, their memory is extrapolated by
the line through the two largest runs that were, and the row says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.result import Measured, bar, options, show
from benchmarks.simulation.one_cell import EXPERIMENT, REQUESTS_A_USER

SEED = 14
ROOT = Path(__file__).resolve().parents[2]
_WARM, _TEN_MILLION = 2_000, 10_000_000

# The same cell in the words of commit b8ab8cb: its modules are not here.
BEFORE = """
import json, resource, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from simulator.experiment import arms
from simulator.experiment.config import load_config
from simulator.experiment.judge import Judge, Plan, scorecard, scorecard_extra
from simulator.experiment.prepare import prepare
from simulator.experiment.progress import Silent
from simulator.experiment.run import serve_arms
from simulator.experiment.timing import make_clock
from simulator.experiment.training import train_models
from simulator.serving.profile import load
from simulator.world.draws import uniform
folder = Path(sys.argv[1])
kept = {}
def handed(prepared, name, needed, *_):
    rows, wide = prepared.requests.candidates.shape
    steps = needed.shape[1]
    if name not in kept:
        kept[name] = np.stack([
            uniform(14, "score", np.arange(rows)[:, None], np.arange(wide), k).astype(np.float32) * 2 - 4
            for k in range(steps)])
    return kept[name]
arms.score_needed = handed
def cell(load_share):
    config = load_config(folder / "experiment.toml", [f"traffic.load={load_share}"], environment={})
    prepared = prepare(config)
    trained = train_models(config, folder / "models", work=folder / "training")
    profile = load(config.experiment.profile_path)
    start_s = time.process_time()
    plan = Plan(prepared, trained, profile, make_clock(prepared, profile))
    results = serve_arms(plan, (plan.clock.budget_s,), folder, Silent(), 1)
    served_s = time.process_time()
    scorecard(plan, Judge(plan, results).cell(0), "cell", scorecard_extra(plan, results))
    return served_s - start_s, time.process_time() - served_s
cell(0.5)
serve_s, market_s = cell(0.4)
print(json.dumps({"serve_cpu_s": serve_s, "market_cpu_s": market_s, "cell_cpu_s": serve_s + market_s,
                  "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}))
"""


def measured(requests: int, before: Path | None = None) -> dict[str, Any]:
    """One size: this program's run and cell, or a checkout's cell; or what went wrong."""
    row: dict[str, Any] = {"program": "b8ab8cb" if before else "this", "requests": requests}
    with TemporaryDirectory(prefix="scale-") as folder:
        own = {"OMP_NUM_THREADS": "1", "LASER_AB_CACHE": f"{folder}/cache", "LASER_AB_CACHE_GB": "100"}
        here = [sys.executable, "-m", "benchmarks.simulation.one_cell"]
        commands = [[*here, part, str(requests), folder] for part in ("keep", "run")]
        if before is not None:
            users = max(2000, requests // REQUESTS_A_USER)
            text = EXPERIMENT.format(requests=requests, users=users)
            (Path(folder) / "experiment.toml").write_text(text)
            commands = [[sys.executable, "-c", BEFORE, folder]]
        root = before or ROOT
        environment = {**os.environ, **own, "PYTHONPATH": str(root)}
        for command in commands:
            done = subprocess.run(
                command, cwd=root, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                return {**row, "problem": done.stderr.strip()[-300:]}
            row |= json.loads(done.stdout.splitlines()[-1])
    return {**row, "requests_per_cpu_s": round(requests / row["cell_cpu_s"])}


def measure(quick: bool, before: Path | None, most: int | None = None) -> Measured:
    """Rows by program and size, and the bars they answer."""
    small, large = (10_000, 30_000) if quick else (100_000, 1_000_000)
    sizes = [small, large, *([most] if most is not None and most > large else [])]
    measured(_WARM)  # compiles
    rows = [measured(size) for size in sizes]
    runs = [row for row in rows if "problem" not in row]
    rows += [] if before is None else [measured(small, before)]
    by_size = {row["requests"]: row for row in runs}
    few, many = by_size.get(small), by_size.get(large)
    if len(runs) > 1 and not quick and _TEN_MILLION not in by_size:
        by_size[_TEN_MILLION] = _extrapolated(*runs[-2:])
        rows.append(by_size[_TEN_MILLION])
    growth = None
    if few and many:
        growth = (many["run_cpu_s"] / large) / (few["run_cpu_s"] / small) - 1
    return rows, [
        bar("cell_rps", few["requests_per_cpu_s"] if few else None, 20_000, 60_000),
        bar("memory_1m_gb", by_size.get(1_000_000, {}).get("peak_gb"), 1.5, 1.0, "lower"),
        bar("memory_10m_gb", by_size.get(_TEN_MILLION, {}).get("peak_gb"), 3.0, 2.0, "lower"),
        bar("linear_1m", None if quick else growth, 0.10, None, "lower"),
    ]


def _extrapolated(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The memory of 10^7 requests, by the line through two sizes."""
    slope = (other["peak_gb"] - one["peak_gb"]) / (other["requests"] - one["requests"])
    peak = other["peak_gb"] + slope * (_TEN_MILLION - other["requests"])
    return {"program": "this", "requests": _TEN_MILLION, "peak_gb": peak, "note": "extrapolated"}


def main() -> None:
    """Parse the command line, measure, print."""
    parser: argparse.ArgumentParser = options(__doc__)
    parser.add_argument("--before", type=Path, help="a checkout of commit b8ab8cb")
    parser.add_argument("--most", type=int, help="requests of a still larger run")
    args = parser.parse_args()
    show("simulation_scale", SEED, args, measure(args.quick, args.before, args.most))


if __name__ == "__main__":
    main()
