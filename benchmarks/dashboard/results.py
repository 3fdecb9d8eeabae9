"""Results of any size to look at: their shape is a run's, their numbers are drawn, and say nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from simulator.metrics import METRICS
from simulator.results.axes import BUDGET, Axis, as_json
from simulator.results.run_folder import RunWriter, SweepWriter
from simulator.results.schemas import sweep_schema

BUDGET_MS = 25.0
ARMS = ("control", "treatment")
PART = 250_000  # requests that are drawn at a time
BUDGETS = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0)


def manifest(name: str) -> dict[str, Any]:
    """A run's part of its manifest."""
    arms = [{"name": arm, "role": arm, "store": "memory", "model": "din", "history": 50} for arm in ARMS]
    return {"name": name, "seed": 7, "service_times": "profile", "profile_machine": "none: drawn numbers",
            "budget_ms": BUDGET_MS, "arms": arms}  # fmt: skip


def scorecard(requests: int) -> dict[str, Any]:
    """A scorecard with every metric."""
    verdict = {"decision": "inconclusive", "text": "Drawn numbers decide nothing.", "rules": []}
    values = {
        metric.name: {"value": 0.5, "ci": [0.4, 0.6], "true_value": 0.5, "unit": metric.unit}
        for metric in METRICS
    }
    lifts = {
        metric.name: {
            "control": 0.5, "treatment": 0.51, "unit": metric.unit, "lift": 0.02, "ci": [-0.01, 0.05],
            "role": "primary" if number == 0 else "secondary", "level": 0.95, "method": "drawn",
            "p_value": 0.2, "true_lift": 0.015, "true_se": 0.002, "mde": 0.04, "n": requests,
        }
        for number, metric in enumerate(metric for metric in METRICS if metric.compared)
    }  # fmt: skip
    serving = {"requests_per_s": 800.0, "store_workers": 2, "scorers": 1, "max_batch": 8, "mean_batch": 2.0,
               "store_utilisation": 0.2, "transport_utilisation": 0.1, "scorer_utilisation": 0.7,
               "bottleneck": "scorer", "full_batch_cost": 1.1,
               "p99_shares": {"scorer_service": 1.0}}  # fmt: skip
    arms = {
        arm: {
            "role": arm, "units": 5000, "requests": requests // 2, "values": values, "serving": serving,
            "metrics": lifts if arm == "treatment" else {},
            "verdict": verdict if arm == "treatment" else None,
        }
        for arm in ARMS
    }  # fmt: skip
    return {"schema_version": 2, "run": "drawn", "seed": 7, "service_times": "profile",
            "budget_ms": BUDGET_MS, "level": 0.95,
            "srm": {"p_value": 0.5, "status": "ok", "expected": dict.fromkeys(ARMS, 5000.0)},
            "verdict": verdict, "notes": [], "arms": arms}  # fmt: skip


def write_run(out: Path, requests: int) -> Path:
    """A finished run of so many requests in each of two arms, with its longest table."""
    with RunWriter.create(out, manifest("drawn")) as writer:
        writer.write_text("experiment.toml", "seed = 7\n")
        writer.write_table("served", _served(requests))
        writer.write_scorecard(scorecard(requests))
        writer.finish()
    return out


def write_sweep(out: Path, requests: int) -> Path:
    """A finished sweep over the latency budget."""
    axes = [Axis(BUDGET, BUDGETS, BUDGET_MS)]
    names = ["cell", BUDGET, "arm", "metric", "value", "ci_low", "ci_high", "true_value", "unit"]
    rows: list[tuple[Any, ...]] = []
    with SweepWriter.create(out, {**manifest("drawn"), "axes": as_json(axes)}) as writer:
        for cell, budget in enumerate(BUDGETS):
            writer.write_cell(cell, scorecard(requests))
            rows += sorted(_rows(cell, budget), key=lambda row: (ARMS.index(row[2]), row[3]))
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        writer.write_table("sweep", columns, sweep_schema(axes))
        writer.finish()
    return out


def copies(run: Path, out: Path, number: int) -> Path:
    """A folder with so many runs, each a copy of what the list reads of one."""
    document = json.loads((run / "manifest.json").read_text())
    document["files"] = {name: entry for name, entry in document["files"].items() if name != "served.parquet"}
    for i in range(number):
        folder = out / f"run-{i:04d}"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(document))
        for name in ("scorecard.json", "experiment.toml"):
            shutil.copyfile(run / name, folder / name)
    return out


def _rows(cell: int, budget: float) -> Iterator[tuple[Any, ...]]:
    lift = 0.05 - 0.5 / budget
    for arm in ARMS:
        for metric in METRICS:
            yield cell, budget, arm, metric.name, 0.5, 0.4, 0.6, 0.5, metric.unit
            if metric.compared and arm == "treatment":
                yield (
                    cell,
                    budget,
                    arm,
                    f"{metric.name}_lift",
                    lift,
                    lift - 0.03,
                    lift + 0.03,
                    lift,
                    "fraction",
                )


def _served(requests: int) -> Iterator[dict[str, Any]]:
    for place, arm in enumerate(ARMS):
        for start in range(0, requests, PART):
            yield _part(arm, place, start, min(PART, requests - start), requests)


def _part(arm: str, place: int, start: int, n: int, requests: int) -> dict[str, Any]:
    rng = np.random.default_rng((7, place, start))
    ids = np.arange(start, start + n)
    arrival_s = ids / requests * 7 * 86_400
    ends = np.cumsum(rng.lognormal(0.2 * place, 0.5, (5, n)), axis=0)
    step = (rng.random(n) < 0.05).astype(int)
    return {
        "arm": np.full(n, arm), "request_id": ids, "user_id": ids // 50, "assigned": (ids // 50) % 2 == place,
        "period": np.full(n, "experiment"), "arrival_s": arrival_s, "sim_arrival_s": arrival_s / 100,
        "history_available": np.full(n, 1000), "history_used": np.full(n, 50), "step": step,
        "step_name": np.where(step == 0, "full", "light"), "missed": ends[4] > BUDGET_MS,
        "store_start_ms": ends[0], "store_end_ms": ends[1], "transport_start_ms": ends[1],
        "transport_end_ms": ends[2], "score_start_ms": ends[3], "score_end_ms": ends[4],
        "deadline_ms": np.full(n, BUDGET_MS), "latency_ms": ends[4],
    }  # fmt: skip
