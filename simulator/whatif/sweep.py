"""What if the latency budget were another? One experiment over a grid of budgets.

Traffic, models, stores and scores are made once; only the timing plane and the market run again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from simulator.arms.outlook import refuse
from simulator.arms.plan import Plan, make_plan
from simulator.config.load import ExperimentConfig, to_toml
from simulator.execution import interrupts
from simulator.execution.fingerprint import CONFIG
from simulator.execution.progress import Progress, Silent
from simulator.execution.resume import WORK, check_unchanged, continued_by
from simulator.experiment.judge import Judge, scorecard
from simulator.experiment.run import RUNS, Tee, get_ready, manifest, serve_arms
from simulator.results.bottleneck import metrics
from simulator.results.read import read_sweep
from simulator.results.run_folder import SweepWriter, free_folder
from simulator.results.scorecard import has_enough_users
from simulator.serving.capacity import budget_grid
from simulator.whatif.budgets import SweepError, parse_budgets


def run_sweep(
    config: ExperimentConfig,
    budgets: str = "auto",
    out: Path | None = None,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Run an experiment under a grid of latency budgets and write a sweep folder.

    Args:
        config: the experiment; its own budget is not used.
        budgets: "auto" (0.3 to 3 times the slowest arm's unloaded P95) or "LO:HI:STEP" in ms.
        out: the sweep folder, `runs/NAME-sweep` by default; the next free sibling where that is taken.
        jobs: worker processes; results do not depend on it.
        progress: told where the work stands.

    Returns:
        The sweep folder.

    Raises:
        SweepError: the grid is malformed, or the experiment's service times are live.
        ValueError, ResultsError: as `simulator.experiment.run.run_experiment`.
    """
    if budgets != "auto":
        parse_budgets(budgets)
    if config.experiment.service_times == "live":
        raise SweepError(
            'Found service_times = "live", expected "profile": a sweep serves the trace many times from one '
            "measurement. Make one with `laser-ab profile` and set experiment.profile to it."
        )
    refuse(config, budgeted=False)
    plan = make_plan(config)
    folder = free_folder(out or RUNS / f"{config.experiment.name}-sweep")
    begun = {**manifest(plan), "budgets": budgets}
    with SweepWriter.create(folder, begun, {CONFIG: to_toml(config)}) as writer:
        _complete(writer, plan, jobs, progress)
    return folder


def resume_sweep(folder: Path, *, jobs: int = 1, progress: Progress | None = None) -> Path:
    """Bring an interrupted or failed sweep to its end, in its own folder; a finished one is left as it is.

    Cells that were written are not computed again; `sweep.parquet` is that of a sweep that was never
    interrupted, byte for byte.

    Args:
        folder: the sweep folder.
        jobs, progress: as in `run_sweep`.

    Raises:
        ResumeError: it is running, or its inputs are not what it began with.
        ValueError, ResultsError: as `run_sweep`.
    """
    found = read_sweep(folder)
    if found.status == "finished":
        return folder
    plan = make_plan(check_unchanged(found))
    with SweepWriter.reopen(folder) as writer:
        _complete(writer, plan, jobs, progress)
    return folder


def _complete(writer: SweepWriter, plan: Plan, jobs: int, progress: Progress | None) -> None:
    """Do what is left of a sweep, and finish its folder."""
    with continued_by("sweep", writer.path):
        if not writer.complete:
            _compute(writer, plan, jobs, Tee(progress or Silent(), writer))
        shutil.rmtree(writer.path / WORK, ignore_errors=True)
        writer.finish()


def _compute(writer: SweepWriter, plan: Plan, jobs: int, told: Progress) -> None:
    ready = get_ready(plan, writer, told, jobs)
    budgets = writer.manifest["budgets"]
    p95_ms = ready.clock.unloaded_p95_s * 1000.0
    grid_ms = budget_grid(p95_ms) if budgets == "auto" else parse_budgets(budgets)
    results = serve_arms(ready, tuple(float(b) / 1000.0 for b in grid_ms), writer.path, told, jobs)
    judge = Judge(ready, results)
    rows: list[dict[str, Any]] = []
    for index, budget_ms in enumerate(grid_ms):
        told.stage("cells", index, len(grid_ms))
        interrupts.check()
        if not writer.has_cell(index):
            name = f"{writer.path.name}/cells/{index:03d}"
            writer.write_cell(index, scorecard(ready, judge.cell(index), name, float(budget_ms)))
        # From the file, so that a cell of an earlier process and one of this give the same row.
        rows += cell_rows(index, float(budget_ms), writer.cell(index))
    told.stage("cells", len(grid_ms), len(grid_ms))
    writer.update_manifest(arm_notes={result.name: result.notes for result in results})
    writer.write_table("sweep", {name: [row[name] for row in rows] for name in rows[0]})


def cell_rows(cell: int, budget_ms: float, card: dict[str, Any]) -> list[dict[str, Any]]:
    """A cell's scorecard as rows of the sweep table, by arm and metric; a treatment's lifts among them.

    Where either arm has too few users, a lift is null and only its truth is known.
    """
    rows = []
    for arm, told in card["arms"].items():
        found: dict[str, dict[str, Any]] = dict(told["values"])
        for name, share in metrics(told["serving"]).items():
            # Of the arm's whole timing plane: nothing is estimated, and the value is the truth.
            found[name] = {"value": share, "ci": None, "true_value": share, "unit": "fraction"}
        enough = has_enough_users(card, arm)
        for name, entry in told["metrics"].items():
            value, ci = (entry["lift"], entry["ci"]) if enough else (None, None)
            lift = {"value": value, "ci": ci, "true_value": entry["true_lift"]}
            found[f"{name}_lift"] = {**lift, "unit": "fraction"}
        for name, entry in sorted(found.items()):
            low, high = entry["ci"] or (None, None)
            row = {"cell": cell, "budget_ms": budget_ms, "arm": arm, "metric": name, "value": entry["value"]}
            row |= {"ci_low": low, "ci_high": high, "true_value": entry["true_value"], "unit": entry["unit"]}
            rows.append(row)
    return rows
