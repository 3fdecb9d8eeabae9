"""What a finished live run says of itself: work, latency by stage, and the scorecard's main entries."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.metrics import SHARES
from simulator.results.read import Run

_ENTRIES = ("control", "treatment", "unit", "lift", "ci", "p_value", "true_lift", "true_se", "mde")

_COLUMNS = [
    "arm", "step", "history_used", "sim_arrival_s", "latency_ms", "store_start_ms", "store_end_ms",
    "transport_start_ms", "transport_end_ms", "score_start_ms", "score_end_ms",
]  # fmt: skip


def experiment_rows(run: Run, kernels: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The run's own measurements: work and latency by arm, then the scorecard's main entries."""
    names = [arm["name"] for arm in run.arms]
    rows = [_work(run, name, kernels[name]) for name in names]
    rows += [{"arm": name, **(run.scorecard or {})["arms"][name]["serving"]} for name in names]
    for name in names:
        rows += _stages(name, served_rows(run, name))
    metrics = (run.scorecard or {})["metrics"]
    return rows + [{"metric": name, **{key: metrics[name][key] for key in _ENTRIES}} for name in metrics]


def served_rows(run: Run, arm: str) -> dict[str, NDArray[Any]]:
    """An arm's rows of the timing plane by column; null times are NaN."""
    table = run.table("served", _COLUMNS)
    mine = np.array(table["arm"].to_pylist()) == arm
    return {name: table[name].to_numpy()[mine] for name in _COLUMNS[1:]}


def _work(run: Run, arm: str, kernel: dict[str, Any]) -> dict[str, Any]:
    """Requests per second of live work, and what that time goes into."""
    notes = run.manifest["arm_notes"][arm]
    store_s = notes["store_own_s"] + notes["store_binding_s"]
    busy_s = store_s + notes["transport_s"] + notes["score_s"]
    requests, scoring = len(served_rows(run, arm)["step"]), notes["score_s"] / busy_s
    values = (run.scorecard or {})["arms"][arm]["values"]
    inside = kernel["kernel_share_of_scoring"]  # measured on a sample of the batches
    return {
        "arm": arm,
        "requests": requests,
        "requests_per_busy_s": requests / busy_s,
        "busy_s": busy_s,
        "scoring_share": scoring,
        "store_share": store_s / busy_s,
        "transport_share": notes["transport_s"] / busy_s,
        "binding_share_of_store": notes["binding_share"],
        **kernel,
        "kernel_share_of_busy": None if inside is None else scoring * inside,
        **{name: values[name]["value"] for name in (share.name for share in SHARES)},
        "budget_ms": run.manifest["budget_ms"],
    }


def _stages(arm: str, served: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Queueing and service of each stage over the requests that reached it, ms."""
    stages = {
        "store, queueing": served["store_start_ms"],  # since the request's arrival
        "store, service": served["store_end_ms"] - served["store_start_ms"],
        "transport, service": served["transport_end_ms"] - served["transport_start_ms"],
        "scoring, queueing": served["score_start_ms"] - served["transport_end_ms"],
        "scoring, service": served["score_end_ms"] - served["score_start_ms"],
        "whole": served["latency_ms"],
    }
    rows = []
    for stage, ms in stages.items():
        reached = ms[~np.isnan(ms)]
        p50, p99 = np.quantile(reached, (0.5, 0.99)).tolist() if len(reached) else (None, None)
        rows.append({"arm": arm, "stage": stage, "n": len(reached), "p50_ms": p50, "p99_ms": p99})
    return rows
