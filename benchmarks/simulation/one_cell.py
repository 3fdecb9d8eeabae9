"""A run with kept scores and one more cell, in a process of its own: CPU seconds and peak memory, as JSON.

    python -m benchmarks.simulation.one_cell keep|run REQUESTS FOLDER

Run by `scale.py`: "keep" trains the models and keeps scores, then "run" finds them. The world is the demo's
with another number of users and requests, the models are Base on two lengths, and their scores are drawn:
kept scores are read, not computed, and what they are changes no cost. A run makes its world and writes its
tables; the cell is another load in the same world, and everything that a sweep does for it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arms.arm import ModelSpec
from simulator.arms.cell import Cell
from simulator.arms.clock import make_clock
from simulator.arms.kept import KeptScores
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan, make_plan
from simulator.arms.serve import serve_cells
from simulator.arms.training import train_all
from simulator.config.load import ExperimentConfig, changed, load_config
from simulator.draws import uniform
from simulator.execution.progress import Silent
from simulator.experiment.judge import judge, scorecard
from simulator.experiment.run import run_experiment

EXPERIMENT = """
seed = 14
[traffic]
preset = "demo"
load = 0.5
[traffic.world]
requests = {requests}
users = {users}
log_days = 2
log_requests = 4
history_max = 200
pre_days = 1
days = 5
[arms.control]
store = "lastn"
model = "base"
history = 50
light_model = "none"
[arms.treatment]
store = "seqvault"
model = "base"
history = 100
light_model = "none"
"""
REQUESTS_A_USER = 25


def drawn(rows: int, candidates: int, step: int) -> Any:
    """(R, C) float32 logits about -3, a block at a time."""
    logits = np.empty((rows, candidates), np.float32)
    for first in range(0, rows, 65_536):
        part = np.arange(first, min(first + 65_536, rows))
        logits[part] = uniform(14, "score", part[:, None], np.arange(candidates), step) * 2 - 4
    return logits


def keep_drawn_scores(plan: Plan, trained: Mapping[ModelSpec, TrainedModel]) -> None:
    """Put drawn scores where cells look for kept ones."""
    shape = plan.prepared.requests.candidates.shape
    for arm in plan.arms:
        for k in range(len(arm.scored_steps)):
            one = [np.broadcast_to(np.float32(np.nan), shape)] * len(arm.scored_steps)
            one[k] = drawn(shape[0], shape[1], k)
            KeptScores(plan, arm, trained).keep(one, np.arange(len(one)) == k)


def keep(config: ExperimentConfig, folder: Path) -> dict[str, Any]:
    """Train, and keep scores."""
    plan = make_plan(config)
    (trained,) = train_all([plan], lambda _: folder / "models", work=folder / "training")
    keep_drawn_scores(plan, trained)
    return {}


def run(config: ExperimentConfig, folder: Path) -> dict[str, Any]:
    """What a run and one more cell cost."""
    start_s = time.process_time()
    run_experiment(config, folder / "run")
    run_s = time.process_time() - start_s
    run_gb = peak_gb()
    plan = make_plan(changed(config, {"traffic.load": 0.4}, "axis"))
    (trained,) = train_all([plan], lambda _: folder / "models", work=folder / "training")
    serve_s, judge_s = cell_cpu_s(plan, trained, folder)
    return {
        "run_cpu_s": run_s,
        "run_peak_gb": run_gb,
        "serve_cpu_s": serve_s,
        "market_cpu_s": judge_s,
        "cell_cpu_s": serve_s + judge_s,
        "peak_gb": peak_gb(),
    }


def peak_gb() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def cell_cpu_s(plan: Plan, trained: Mapping[ModelSpec, TrainedModel], folder: Path) -> tuple[float, float]:
    """CPU seconds of serving, and of the market's worlds and the scorecard."""
    assert plan.profile is not None
    start_s = time.process_time()
    cell = Cell(plan, trained, plan.profile, make_clock(plan, plan.profile))
    (served,) = serve_cells([cell], folder / "arms", 1, Silent())
    served_s = time.process_time()
    scorecard(cell, judge(cell, served, folder=folder), "cell")
    return served_s - start_s, time.process_time() - served_s


def main(part: str, requests: int, folder: Path) -> dict[str, Any]:
    """One part, for so many requests."""
    file = folder / "experiment.toml"
    file.write_text(EXPERIMENT.format(requests=requests, users=max(2000, requests // REQUESTS_A_USER)))
    return {"keep": keep, "run": run}[part](load_config(file, [], environment={}), folder)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
