"""What if the latency budget were another? One experiment over a grid of budgets.

Traffic, models, stores and scores are made once; only the timing plane and the market run again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from simulator.experiment.config import ExperimentConfig, to_toml
from simulator.experiment.progress import Progress, Silent
from simulator.experiment.run import (
    RUNS,
    WORK,
    Judge,
    Tee,
    check_ready,
    make_plan,
    manifest,
    scorecard,
    scorecard_extra,
    serve_arms,
)
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
        budgets: "auto" (0.3 to 3 times the slowest treatment's unloaded P95) or "LO:HI:STEP" in ms.
        out: the sweep folder, `runs/NAME-sweep` by default; the next free sibling where that is taken.
        jobs: worker processes; results do not depend on it.
        progress: told where the work stands.

    Returns:
        The sweep folder.

    Raises:
        SweepError: the grid is malformed, or the experiment's service times are live.
        ValueError, ResultsError: as `simulator.experiment.run.run_experiment`.
    """
    asked_ms = None if budgets == "auto" else parse_budgets(budgets)
    if config.experiment.service_times == "live":
        raise SweepError(
            'Found service_times = "live", expected "profile": a sweep serves the trace many times from one '
            "measurement. Make one with `laser-ab profile` and set experiment.profile to it."
        )
    profile = check_ready(config)
    assert profile is not None  # not live
    folder = free_folder(out or RUNS / f"{config.experiment.name}-sweep")
    with SweepWriter.create(folder, manifest(config, profile)) as writer:
        writer.write_text("experiment.toml", to_toml(config))
        told = Tee(progress or Silent(), writer)
        plan = make_plan(config, profile, writer, told, jobs)
        grid_ms = budget_grid(plan.clock.unloaded_p95_s) * 1000.0 if asked_ms is None else asked_ms
        budgets_s = tuple(float(b) / 1000.0 for b in grid_ms)
        results = serve_arms(plan, budgets_s, folder, told, jobs)
        judge = Judge(plan, results)
        rows: list[dict[str, Any]] = []
        for index, budget_ms in enumerate(grid_ms):
            told.stage("cells", index, len(grid_ms))
            extra = {"budget_ms": float(budget_ms), **scorecard_extra(plan, results)}
            card = scorecard(plan, judge.cell(index), f"{folder.name}/cells/{index:03d}", extra)
            writer.write_cell(index, card)
            rows += cell_rows(index, float(budget_ms), card, config.arm_names)
        told.stage("cells", len(grid_ms), len(grid_ms))
        writer.update_manifest(arm_notes={name: r.notes for name, r in results.items()})
        writer.write_table("sweep", {name: [row[name] for row in rows] for name in rows[0]})
        shutil.rmtree(folder / WORK, ignore_errors=True)
        writer.finish()
    return folder


def cell_rows(
    cell: int, budget_ms: float, card: dict[str, Any], arms: tuple[str, ...]
) -> list[dict[str, Any]]:
    """A cell's scorecard as rows of the sweep table, by arm and metric; a treatment's lifts among them.

    Where either arm has too few users, a lift is null and only its truth is told.
    """
    rows = []
    for position, arm in enumerate(arms):
        found: dict[str, dict[str, Any]] = dict(card["arm_values"][arm])
        if position > 0:
            metrics = card["metrics"] if len(arms) == 2 else card["arms"][arm]["metrics"]
            enough = has_enough_users(card, arm)
            for name, entry in metrics.items():
                value, ci = (entry["lift"], entry["ci"]) if enough else (None, None)
                lift = {"value": value, "ci": ci, "true_value": entry["true_lift"]}
                found[f"{name}_lift"] = {**lift, "unit": "fraction"}
        for name, entry in sorted(found.items()):
            low, high = entry["ci"] or (None, None)
            row = {"cell": cell, "budget_ms": budget_ms, "arm": arm, "metric": name, "value": entry["value"]}
            row |= {"ci_low": low, "ci_high": high, "true_value": entry["true_value"], "unit": entry["unit"]}
            rows.append(row)
    return rows
