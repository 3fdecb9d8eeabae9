"""Run and sweep folders of a small made-up experiment, written through the real writers.

The numbers are drawn (seeded), not simulated; their shapes follow a run of two arms: log-normal
stage times, a ladder of three steps, a treatment that is better and slower.
"""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import numpy as np

from simulator.results.axes import BUDGET, Axis, as_json
from simulator.results.run_folder import RunWriter, SweepWriter
from simulator.results.schemas import sweep_schema

BUDGET_MS = 25.0
DAY_S = 86_400
STEPS = np.array(["full", "1/2", "prior"])
ARMS = [
    {"name": "control", "role": "control", "store": "lastn", "model": "din", "history": 50},
    {"name": "treatment", "role": "treatment", "store": "seqvault", "model": "laser", "history": 1000},
]
MANIFEST: dict[str, Any] = {
    "name": "lifelong histories",
    "seed": 7,
    "versions": {"laser_ab": "0.1.0", "python": "3.11.7"},
    "hardware": {"cpu": "8-core test machine", "cores": 8, "memory_gib": 32, "gpu": None},
    "commit": "0123abcd",
    "service_times": "profile",
    "profile_machine": "H100 80 GB, 16 cores",
    "time_compression": 120.0,
    "budget_ms": BUDGET_MS,
    "arms": ARMS,
    "world": {"preset": "demo"},
}
EXPERIMENT = """\
seed = 7
[experiment]
name = "lifelong histories"
split = { control = 0.5, treatment = 0.5 }
[traffic]
preset = "demo"
"""


def manifest(**changes: Any) -> dict[str, Any]:
    return {**MANIFEST, **changes}


def served(requests: int = 3000, seed: int = 7) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    user = rng.integers(0, requests // 10, requests)
    arrival = np.sort(rng.uniform(0, 86_400, requests))
    parts = [_served_arm(arm, user, arrival, np.random.default_rng((seed, i))) for i, arm in enumerate(ARMS)]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _served_arm(
    arm: dict[str, Any], user: np.ndarray, arrival: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    n, treated = len(user), arm["role"] == "treatment"
    scale = 3.0 if treated else 1.0
    step = rng.choice(3, n, p=[0.93, 0.06, 0.01] if treated else [0.995, 0.004, 0.001])
    work = scale * np.where(step == 0, 1.0, 0.5)

    def stage(median_ms: float, sigma: float) -> np.ndarray:
        return work * median_ms * np.exp(sigma * rng.standard_normal(n))

    gaps = [rng.exponential(0.3, n), stage(0.8, 0.3), stage(0.2, 0.2), scale * rng.exponential(0.8, n)]
    ends = np.cumsum([*gaps, stage(1.5, 0.35)], axis=0)
    ends[:, step == 2] = np.nan  # prior order at once: no stage happened
    latency = np.where(step == 2, 0.1, ends[4])
    return {
        "arm": np.full(n, arm["name"]),
        "request_id": np.arange(n),
        "user_id": user,
        "assigned": (user % 2 == 1) == treated,
        "period": np.where(arrival < 17_280, "pre", "experiment"),
        "arrival_s": arrival,
        "sim_arrival_s": arrival / 120,
        "history_available": np.full(n, 1200),
        "history_used": np.where(step == 2, 0, arm["history"] // (1 + step)),
        "step": step,
        "step_name": STEPS[step],
        "missed": latency > BUDGET_MS,
        "store_start_ms": ends[0],
        "store_end_ms": ends[1],
        "transport_start_ms": ends[1],
        "transport_end_ms": ends[2],
        "score_start_ms": ends[3],
        "score_end_ms": ends[4],
        "deadline_ms": np.full(n, BUDGET_MS),
        "latency_ms": latency,
    }


def users(number: int = 300, seed: int = 7) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    ids = np.arange(number)
    count = {name: rng.poisson(rate, number) for name, rate in (("requests", 10), ("pre_requests", 2))}
    table: dict[str, Any] = {"user_id": ids, "arm": np.where(ids % 2 == 1, "treatment", "control"), **count}
    for prefix in ("", "pre_"):
        clicks = rng.binomial(count[f"{prefix}requests"] * 3, 0.05)
        conversions = rng.binomial(clicks, 0.1)
        table |= {
            f"{prefix}impressions": count[f"{prefix}requests"] * 3,
            f"{prefix}clicks": clicks,
            f"{prefix}conversions": conversions,
            f"{prefix}revenue": clicks * 0.7,
            f"{prefix}advv": conversions * 12.5,
        }
    return table | {"missed": rng.poisson(0.1, number), "degraded": rng.poisson(0.5, number)}


def entry(control: float, lift: float, half: float, true: float, unit: str, **more: Any) -> dict[str, Any]:
    return {
        "control": control,
        "treatment": control * (1 + lift),
        "unit": unit,
        "role": "secondary",
        "lift": lift,
        "ci": [lift - half, lift + half],
        "level": 0.95,
        "method": "log-ratio, CUPED",
        "p_value": 0.153,
        "true_lift": true,
        "true_se": 0.003,
        "mde": 1.43 * half,
        "n": 50_000,
        **more,
    }


def load(store: float, transport: float, scorer: float, bottleneck: str) -> dict[str, Any]:
    """How busy an arm's servers were; a P99 request spends its time where they are busy."""
    parts = {"store_service": store, "transport_service": transport, "scorer_service": scorer}
    queues = {"store_queueing": 0.01, "scorer_queueing": scorer}
    whole = sum(parts.values()) + sum(queues.values())
    return {
        "requests_per_s": 845.6,
        "store_workers": 2,
        "scorers": 1,
        "max_batch": 8,
        "store_utilisation": store,
        "transport_utilisation": transport,
        "scorer_utilisation": scorer,
        "bottleneck": bottleneck,
        "mean_batch": 2.13,
        "full_batch_cost": 1.04,
        "p99_shares": {name: share / whole for name, share in (queues | parts).items()},
    }


METRICS = {
    "advv_per_request": entry(1.9, 0.026, 0.036, 0.038, "currency", role="primary"),
    "revenue_per_request": entry(0.412, 0.031, 0.012, 0.029, "currency", p_value=0.0004),
    "ctr": entry(0.0321, 0.018, 0.009, 0.02, "fraction"),
    "cvr": entry(0.1, 0.004, 0.02, 0.003, "fraction"),
    "p99_ms": entry(6.1, 1.9, 0.15, 1.96, "ms", role="guardrail", method="bootstrap by user", mde=None),
}
VERDICT = {
    "decision": "inconclusive",
    "text": "ADVV per request: no clear change (+2.6%, CI −1.0% to +6.2%).",
}


def control(**changes: Any) -> dict[str, Any]:
    """The control's entry of a scorecard."""
    served = {"p50_ms": 3.1, "p95_ms": 4.9, "p99_ms": 6.1, "missed_share": 0.0, "degraded_share": 0.005}
    entry = {"role": "control", "units": 4980, "requests": 24_900, "metrics": {}, "verdict": None}
    serving = load(0.31, 0.02, 0.12, "store")
    return {**entry, "latency": served, "values": values(served), "serving": serving, **changes}


def treatment(**changes: Any) -> dict[str, Any]:
    """A treatment's entry of a scorecard."""
    served = {"p50_ms": 9.0, "p95_ms": 14.0, "p99_ms": 17.7, "missed_share": 0.001, "degraded_share": 0.07}
    entry = {"role": "treatment", "units": 5020, "requests": 25_100}
    entry |= {"metrics": copy.deepcopy(METRICS), "verdict": VERDICT}
    serving = load(0.066, 0.073, 0.79, "scorer")
    return {**entry, "latency": served, "values": values(served), "serving": serving, **changes}


def values(served: dict[str, float]) -> dict[str, Any]:
    """What an arm was served with, each with an interval and the truth."""
    return {
        name: {
            "value": value,
            "ci": [0.97 * value, 1.04 * value],
            "true_value": value,
            "unit": "ms" if name.endswith("_ms") else "fraction",
        }
        for name, value in served.items()
    }


def two_arms(control_users: int, treatment_users: int) -> dict[str, Any]:
    """A control and a treatment with so many users."""
    return {"control": control(units=control_users), "treatment": treatment(units=treatment_users)}


def scorecard(
    arms: dict[str, Any] | None = None, srm: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """A scorecard of these arms, without what is shown by role beside them: the project reads only these."""
    arms = arms or {"control": control(), "treatment": treatment()}
    card = {
        "schema_version": 2,
        "run": "lifelong histories",
        "status": "finished",
        "seed": 7,
        "service_times": "profile",
        "profile_machine": MANIFEST["profile_machine"],
        "budget_ms": BUDGET_MS,
        "level": 0.95,
        "srm": {
            "p_value": 0.69,
            "status": "ok",
            "expected": {name: sum(arm["units"] for arm in arms.values()) / len(arms) for name in arms},
            "text": "The arms' units agree with the planned split (p = 0.69).",
            **(srm or {}),
        },
        "verdict": VERDICT,
        "arms": arms,
    }
    return {**card, **changes}


def write_run(out: Path, *, card: dict[str, Any] | None = None, requests: int = 3000, **changes: Any) -> Path:
    """A finished run."""
    with RunWriter.create(out, manifest(**changes)) as writer:
        writer.write_text("experiment.toml", EXPERIMENT)
        writer.stage("serve", requests, requests)
        writer.write_table("served", served(requests))
        writer.write_table("users", users())
        writer.write_scorecard(card or scorecard())
        writer.finish()
    return out


@contextlib.contextmanager
def running_run(out: Path):
    """A run under way: the lock is held as long as the context lives; interrupted after."""
    with RunWriter.create(out, manifest()) as writer:
        writer.write_text("experiment.toml", EXPERIMENT)
        writer.stage("world", 1, 1)
        writer.stage("train", 300, 1200)
        yield writer


def sweep_rows(budgets: tuple[float, ...]) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {
        key: []
        for key in ("cell", BUDGET, "arm", "metric", "value", "ci_low", "ci_high", "true_value", "unit")
    }

    def add(*values: Any) -> None:
        for column, value in zip(rows.values(), values, strict=True):
            column.append(value)

    for cell, budget in enumerate(budgets):
        kept = 1 / (1 + np.exp(-(budget - 14) / 4))  # the share of the treatment's benefit it has time for
        for arm, benefit, p99 in (("control", 0.0, 6.0), ("treatment", kept, min(17.7, 0.9 * budget))):
            missed = 0.0 if arm == "control" else 0.4 * (1 - kept)
            for metric, base, gain, unit in (
                ("advv_per_request", 1.9, 0.06, "currency"),
                ("revenue_per_request", 0.412, 0.05, "currency"),
                ("ctr", 0.0321, 0.04, "fraction"),
                ("cvr", 0.1, 0.004, "fraction"),
            ):
                lift = gain * benefit - 0.2 * missed
                value = base * (1 + lift)
                add(cell, budget, arm, metric, value, None, None, 1.002 * value, unit)
                if arm == "treatment":
                    ends = (lift - 0.028, lift + 0.028, lift + 0.003)
                    add(cell, budget, arm, f"{metric}_lift", lift, *ends, "fraction")
            for metric, value, unit in (
                ("p50_ms", 0.5 * p99, "ms"),
                ("p95_ms", 0.8 * p99, "ms"),
                ("p99_ms", p99, "ms"),
                ("missed_share", missed, "fraction"),
                ("degraded_share", 0.5 * missed, "fraction"),
                ("full_history_share", 1 - missed, "fraction"),
            ):
                add(cell, budget, arm, metric, value, 0.97 * value, 1.03 * value, value, unit)
            if arm == "treatment":
                lift = p99 / 6 - 1
                add(cell, budget, arm, "p99_ms_lift", lift, lift - 0.1, lift + 0.1, lift, "fraction")
    return rows


def write_sweep(
    out: Path,
    budgets: tuple[float, ...] = (5, 10, 15, 20, 25, 30, 40, 50),
    rows: dict[str, list[Any]] | None = None,
    cards: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> Path:
    """A finished sweep."""
    axes = [Axis(BUDGET, budgets, BUDGET_MS)]
    with SweepWriter.create(out, manifest(name="budget sweep", axes=as_json(axes), **changes)) as writer:
        for cell in range(len(budgets)):
            writer.write_cell(cell, cards[cell] if cards else scorecard())
            writer.stage("cells", cell + 1, len(budgets))
        writer.write_table("sweep", rows or sweep_rows(budgets), sweep_schema(axes))
        writer.finish()
    return out
