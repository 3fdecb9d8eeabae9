"""The scorecard: everything a run's reader asks first, as one JSON-safe dict.

Every arm has one entry under "arms", of one shape; two arms are also shown by role at the top.
Shares and lifts are fractions, latencies ms, unknown values None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.analysis.aggregate import EXPERIMENT, PRE
from simulator.analysis.arm_values import clustered_ratio
from simulator.analysis.columns import AnalysisError, Array, Table, columns, labels
from simulator.analysis.inference import estimate
from simulator.analysis.latency import Quantile, clustered_quantile, quantile_lift
from simulator.analysis.srm import Srm, check_split
from simulator.analysis.truth import UNKNOWN, TrueLift, true_lift, true_quantile_lift
from simulator.analysis.verdict import verdict
from simulator.metrics import (
    COMPARED,
    OUTCOMES,
    PRIMARY,
    QUANTILES,
    RATIOS,
    SHARES,
    LatencyQuantile,
    Metric,
    Ratio,
)
from simulator.results.files import plain
from simulator.results.schemas import SCORECARD_VERSION


@dataclass(frozen=True)
class Question:
    """What the scorecard is about.

    run, status, seed, service_times: copied into it. split: planned share of each arm, in the arms' order.
    control: which of them is compared with. primary: the deciding metric. level: of all intervals.
    extra: further top-level entries, such as budget_ms and profile_machine.
    arm_extra: by arm, further entries of it, such as its model and how busy its servers were.
    """

    run: str
    seed: int
    service_times: str
    split: Mapping[str, float]
    control: str
    primary: str = PRIMARY
    level: float = 0.95
    status: str = "finished"
    extra: Mapping[str, Any] = field(default_factory=dict)
    arm_extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.control not in self.split or len(self.split) < 2:
            raise AnalysisError(
                f"Arms are {list(self.split)}, expected at least two, {self.control!r} among them."
            )
        known = [metric.name for metric in COMPARED]
        if self.primary not in known:
            raise AnalysisError(f"The primary metric is {self.primary!r}, expected one of {known}.")

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms, in order."""
        return tuple(self.split)

    @property
    def treatments(self) -> tuple[str, ...]:
        """All arms but control, in order."""
        return tuple(arm for arm in self.split if arm != self.control)


def build_scorecard(
    question: Question,
    users: Table,
    served: Table,
    truth: Table | None,
    paths: Mapping[str, Mapping[str, Array]] | None = None,
) -> dict[str, Any]:
    """Assemble the scorecard from a run's tables.

    Args:
        question: what is compared, and how.
        users, served, truth: the run's tables; truth None if the counterfactual worlds were not run.
        paths: by arm, the truth's totals on each path of clicks, see `true_lift`.

    Returns:
        A dict that JSON can hold.

    Raises:
        AnalysisError: a table lacks a column, or its arms are not the question's.
    """
    arm_of_user = labels(users, "arm", question.arms)
    counts = {name: int((arm_of_user == i).sum()) for i, name in enumerate(question.arms)}
    srm = check_split(counts, question.split)
    latency = Latency.of(served, question)
    worlds = None if truth is None else _worlds(truth, question.arms)
    card: dict[str, Any] = {
        "schema_version": SCORECARD_VERSION,
        "run": question.run,
        "status": question.status,
        "seed": question.seed,
        "service_times": question.service_times,
        "level": question.level,
        **question.extra,
    }
    arms = {}
    for name in question.arms:
        compared, judged = {}, None
        if name != question.control:
            compared = _metric_entries(question, users, latency, worlds, paths, name)
            judged = verdict(compared, question.primary, srm, min(counts[question.control], counts[name]))
        values = _arm_values(question, users, latency, worlds, name)
        arms[name] = {
            "role": "control" if name == question.control else "treatment",
            "units": counts[name],
            "requests": latency.requests(name),
            "metrics": compared,
            "verdict": judged,
            "latency": {m.name: values[m.name]["value"] for m in (*QUANTILES, *SHARES)},
            "values": values,
            **question.arm_extra.get(name, {}),
        }
    card["srm"] = _srm_entry(srm)
    card["verdict"] = _verdict({name: arms[name]["verdict"] for name in question.treatments})
    card["arms"] = arms
    if len(arms) == 2:
        card |= _two_arms(question, arms)
    safe: dict[str, Any] = plain(card)
    return safe


def _two_arms(question: Question, arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What readers of a plain A/B look up by role; all of it stands under "arms" too."""
    roles = {"control": question.control, "treatment": question.treatments[0]}
    by_role = {key: {role: arms[name][key] for role, name in roles.items()} for key in ("units", "latency")}
    return {"names": roles, "metrics": arms[roles["treatment"]]["metrics"], **by_role}


def _srm_entry(srm: Srm) -> dict[str, Any]:
    return {"p_value": srm.p_value, "status": srm.status, "expected": srm.expected, "text": srm.text}


def _verdict(judged: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """One decision over all treatments; no interval is corrected for their number."""
    if len(judged) == 1:
        return next(iter(judged.values()))
    decisions = {name: v["decision"] for name, v in judged.items()}
    found = set(decisions.values())
    if "invalid" in found or "ship" in found:
        decision = "invalid" if "invalid" in found else "ship"
    else:
        decision = "stop" if found == {"stop"} else "inconclusive"
    text = " ".join(f"{name}: {v['text']}" for name, v in judged.items())
    rules = [{"rule": f"{name}: {d}", "holds": d == "ship"} for name, d in decisions.items()]
    return {"decision": decision, "text": text, "rules": rules}


def _metric_entries(
    question: Question,
    users: Table,
    latency: Latency,
    worlds: Mapping[str, Table] | None,
    paths: Mapping[str, Mapping[str, Array]] | None,
    treatment: str,
) -> dict[str, dict[str, Any]]:
    control = question.control
    both = None if paths is None else (paths[control], paths[treatment])
    entries = {}
    for metric in COMPARED:
        if isinstance(metric, LatencyQuantile):
            entries[metric.name] = latency.lift_entry(metric, treatment)
        elif isinstance(metric, Ratio):
            true = UNKNOWN
            if worlds is not None:
                true = true_lift(worlds[control], worlds[treatment], metric, both)
            entries[metric.name] = _ratio_entry(question, users, metric, treatment, true)
        else:
            raise AssertionError(
                f"Nothing estimates lifts of a {type(metric).__name__} such as {metric.name}."
            )
    return entries


def _role(question: Question, metric: Metric) -> str:
    return "primary" if metric.name == question.primary else "guardrail" if metric.guardrail else "secondary"


def _ratio_entry(
    question: Question, users: Table, metric: Ratio, treatment: str, true: TrueLift
) -> dict[str, Any]:
    e = estimate(users, metric, question.control, treatment, level=question.level)
    return {
        "control": e.control,
        "treatment": e.treatment,
        "unit": metric.unit,
        "role": _role(question, metric),
        "lift": e.lift,
        "ci": e.ci,
        "level": e.level,
        "method": e.method,
        "p_value": e.p_value,
        **_true_entry(true),
        "mde": e.mde,
        "n": e.n,
        "se_log": e.se_log,
        "variance_reduction": e.variance_reduction,
        "reason": e.reason,
    }


def _arm_values(
    question: Question, users: Table, latency: Latency, worlds: Mapping[str, Table] | None, arm: str
) -> dict[str, dict[str, Any]]:
    """Every metric of one arm by itself (raw, not CUPED-adjusted), with its interval and its true value."""
    rows = labels(users, "arm", question.arms) == question.arms.index(arm)
    found = {}
    for metric in RATIOS:
        table = columns(users, metric.top, metric.below, "user_id")
        own = clustered_ratio(
            table[metric.top][rows],
            table[metric.below][rows],
            table["user_id"][rows],
            question.level,
        )
        # An arm's true value is its own world's; pairing it with itself gives that and no lift.
        true = None if worlds is None else true_lift(worlds[arm], worlds[arm], metric).control
        found[metric.name] = _value(own.value, own.ci, true, metric.unit)
    return found | latency.values(arm)


def _value(
    value: float | None, ci: tuple[float, float] | None, true_value: float | None, unit: str
) -> dict[str, Any]:
    return {"value": value, "ci": ci, "true_value": true_value, "unit": unit}


def _true_entry(true: TrueLift) -> dict[str, float | None]:
    return {
        "true_lift": true.lift,
        "true_se": true.se,
        "true_control": true.control,
        "true_treatment": true.treatment,
    }


def _worlds(truth: Table, arms: tuple[str, ...]) -> dict[str, dict[str, Array]]:
    """The truth table's rows by arm."""
    table = columns(truth, "request_id", "user_id", *(f"expected_{n}" for n in OUTCOMES))
    arm = labels(truth, "arm", arms)
    return {name: {k: v[arm == i] for k, v in table.items()} for i, name in enumerate(arms)}


@dataclass(frozen=True)
class Latency:
    """The experiment's requests, seen through their latency: as assigned, and over all requests."""

    question: Question
    table: Mapping[str, Array]
    arm: Array

    @classmethod
    def of(cls, served: Table, question: Question) -> Latency:
        """Keep the experiment's rows of the served table."""
        table = columns(served, "user_id", "assigned", "step", "missed", "latency_ms")
        keep = labels(served, "period", (PRE, EXPERIMENT)) == 1
        arm = labels(served, "arm", question.arms)[keep]
        return cls(question, {name: column[keep] for name, column in table.items()}, arm)

    def quantile(self, name: str, p: float, *, assigned: bool) -> Quantile | None:
        """One arm's quantile, of its assigned requests or of the whole trace."""
        rows = self._rows(name, assigned)
        latency = self.table["latency_ms"][rows].astype(np.float64)
        return clustered_quantile(latency, self.table["user_id"][rows], p, self.question.level)

    def requests(self, name: str) -> int:
        """How many requests the A/B assigned to an arm."""
        return int(self._rows(name, True).sum())

    def values(self, name: str) -> dict[str, dict[str, Any]]:
        """One arm's quantiles and shares: as assigned with intervals, and over all its requests."""
        found: dict[str, dict[str, Any]] = {}
        for metric in QUANTILES:
            assigned, every = (self.quantile(name, metric.p, assigned=a) for a in (True, False))
            found[metric.name] = _value(
                None if assigned is None else assigned.value,
                None if assigned is None else assigned.ci,
                None if every is None else every.value,
                metric.unit,
            )
        mine, all_rows = self._rows(name, True), self._rows(name, False)
        for share in SHARES:
            hit = share.of(self.table["missed"].astype(bool), self.table["step"])
            own = clustered_ratio(
                hit[mine], np.ones(int(mine.sum())), self.table["user_id"][mine], self.question.level
            )
            true = float(hit[all_rows].mean()) if all_rows.any() else None
            found[share.name] = _value(own.value, own.ci, true, share.unit)
        return found

    def lift_entry(self, metric: LatencyQuantile, treatment: str) -> dict[str, Any]:
        """The metric entry of a quantile: assigned requests estimate it, all requests know it."""
        question, p = self.question, metric.p
        names = (question.control, treatment)
        control, other = (self.quantile(name, p, assigned=True) for name in names)
        true = UNKNOWN
        # A true quantile needs every request in both arms.
        if len({int(self._rows(name, False).sum()) for name in names}) == 1:
            true = true_quantile_lift(*(self.quantile(name, p, assigned=False) for name in names))
        lift = None if control is None or other is None else quantile_lift(control, other, question.level)
        reason = None
        if lift is None:
            reason = f"Arm {names[0] if control is None else names[1]!r} served no request."
        elif lift.ci is None:
            reason = f"Too few users among the slowest {100 * (1 - p):.3g} % for an interval."
        return {
            "control": control and control.value,
            "treatment": other and other.value,
            "unit": metric.unit,
            "role": _role(question, metric),
            "lift": lift and lift.lift,
            "ci": lift and lift.ci,
            "level": question.level,
            "method": "log-ratio of quantiles, user-clustered order statistics",
            "p_value": lift and lift.p_value,
            **_true_entry(true),
            "mde": lift and lift.mde,
            "n": sum(self.requests(name) for name in names),
            "se_log": lift and lift.se_log,
            "variance_reduction": None,
            "reason": reason,
        }

    def _rows(self, name: str, assigned: bool) -> Array:
        mine: Array = self.arm == self.question.arms.index(name)
        return mine & self.table["assigned"].astype(bool) if assigned else mine
