"""For whom: the effect in thirds of the requests, by what sets them apart before any arm had a say.

Segments are looked at in numbers: p-values are adjusted over all of a metric's (Holm), so that one that
stands out by chance is not taken for a finding.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from simulator.analysis.breakdown.parts import F8, I8, Requests
from simulator.analysis.inference import Estimate, estimate_arms
from simulator.analysis.several import holm
from simulator.analysis.truth import TrueLift, true_lift
from simulator.metrics import Ratio
from simulator.results.scorecard import MIN_UNITS, too_few_events

Entry = dict[str, Any]
THIRDS = 3


def sorted_by(requests: Requests) -> dict[str, F8]:
    """(E,) what segments are made by: "history", behaviours that are readable; "activity", how many requests
    the user makes in the experiment; "latency", what the treatment takes for the request [ms], whichever arm
    the user is in.
    """
    count = np.bincount(requests.user, minlength=len(requests.user_id))
    return {
        "history": requests.history.astype(np.float64),
        "activity": count[requests.user].astype(np.float64),
        "latency": requests.latency_ms,
    }


def by_segment(
    requests: Requests, metrics: tuple[Ratio, ...], arms: tuple[str, str], level: float
) -> list[Entry]:
    """Each metric in each third.

    Args:
        requests: of the experiment.
        metrics: which.
        arms: control and treatment.
        level: of the intervals, of each by itself.

    Returns:
        Records, the least third first: by, third (from 0), low, high and mean of what it is sorted by,
        requests, and "metrics": by name lift, ci, p_value, p_holm, true_lift, true_se and the reason where
        there is no estimate to show.
    """
    records: list[Entry] = []
    for name, values in sorted_by(requests).items():
        part = thirds(values)
        found = requests.found(part, THIRDS)
        worlds = [requests.true(arm, part, THIRDS) for arm in arms]
        for third in range(THIRDS):
            own = values[part == third]
            entry: Entry = {"by": name, "third": third, "requests": len(own)}
            entry |= _range(own) | {"metrics": {}}
            for metric in metrics:
                groups = requests.arms_of(found, third, metric)
                n = int(found.requests[:, third].sum())
                estimate = estimate_arms(groups, metric, arms, n, level=level)
                control, treatment = (world.as_truth(third, requests.user_id) for world in worlds)
                true = true_lift(control, treatment, metric)
                entry["metrics"][metric.name] = _entry(estimate, true, min(map(len, groups)))
            records.append(entry)
    for metric in metrics:
        shown = [r["metrics"][metric.name] for r in records]
        tested = [entry for entry in shown if entry["p_value"] is not None]
        for entry, p in zip(tested, holm([entry["p_value"] for entry in tested]), strict=True):
            entry["p_holm"] = p
    return records


def _range(values: F8) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(("low", "high", "mean"))
    return {"low": float(values.min()), "high": float(values.max()), "mean": float(values.mean())}


def thirds(values: F8) -> I8:
    """(E,) 0, 1 or 2 by rank; equal values are told apart by the order of the trace."""
    part = np.empty(len(values), np.int64)
    order = np.argsort(values, kind="stable")
    for third, rows in enumerate(np.array_split(order, THIRDS)):
        part[rows] = third
    return part


def _entry(estimate: Estimate, true: TrueLift, users: int) -> Entry:
    """What is said of one metric in one third; no estimate of too few users or events, but why."""
    reason = estimate.reason
    if reason is None and users < MIN_UNITS:
        reason = f"Fewer than {MIN_UNITS} users in an arm."
    if reason is None and estimate.events is not None:
        reason = too_few_events(asdict(estimate.events)) or None
    shown = reason is None
    return {
        "lift": estimate.lift if shown else None,
        "ci": estimate.ci if shown else None,
        "p_value": estimate.p_value if shown else None,
        "p_holm": None,
        "true_lift": true.lift,
        "true_se": true.se,
        "reason": reason,
    }
