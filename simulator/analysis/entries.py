"""The scorecard's entries: each metric of a treatment against control, and each arm's own values.

Start at `Sample`, which holds what one experiment left behind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from simulator.analysis.aggregate import EXPERIMENT, PRE
from simulator.analysis.arm_values import ArmValue, clustered_ratio, clustered_share
from simulator.analysis.columns import Array, Table, columns, labels
from simulator.analysis.inference import Estimate, estimate
from simulator.analysis.latency import Quantile, clustered_quantiles, quantile_lift
from simulator.analysis.log_ratio import lift_of, log_of
from simulator.analysis.power import times_the_size
from simulator.analysis.question import Question
from simulator.analysis.several import dunnett_factor, dunnett_p
from simulator.analysis.truth import (
    OUTCOME_COLUMNS,
    UNKNOWN,
    TrueLift,
    added_by_user,
    by_user,
    true_lift,
    true_quantile_lift,
)
from simulator.metrics import (
    COMPARED,
    QUANTILES,
    RATIOS,
    SHARES,
    LatencyQuantile,
    Metric,
    Ratio,
)
from simulator.scratch import let_go

Entry = dict[str, Any]
_SMALLEST_P = 1e-300
#: Of the served table, what is read of an arm's requests.
SERVED_COLUMNS = ("user_id", "assigned", "step", "missed", "latency_ms")


@dataclass(frozen=True)
class Sample:
    """What an experiment left behind, as the scorecard reads it.

    Attributes:
        question: what is compared, and how.
        users: the users table.
        served: by arm, its rows of the served table, of the experiment's requests.
        worlds: by arm, its truth by user (`simulator.analysis.truth.by_user`); None without counterfactual
            worlds.
        paths: by arm, the truth's totals on each path of clicks.
    """

    question: Question
    users: Table
    served: Mapping[str, Mapping[str, Array]]
    worlds: Mapping[str, Mapping[str, Array]] | None
    paths: Mapping[str, Mapping[str, Array]] | None
    _known: dict[tuple[str, bool], dict[float, Quantile | None]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        question: Question,
        users: Table,
        served: Table,
        truth: Table | None,
        paths: Mapping[str, Mapping[str, Array]] | None,
    ) -> Sample:
        """From a run's tables."""
        arms, table = question.arms, columns(served, *SERVED_COLUMNS)
        inside = labels(served, "period", (PRE, EXPERIMENT)) == 1
        arm = labels(served, "arm", arms)
        rows = {
            name: {key: column[inside & (arm == i)] for key, column in table.items()}
            for i, name in enumerate(arms)
        }
        return cls(question, users, rows, None if truth is None else _worlds(truth, arms), paths)

    def requests(self, name: str) -> int:
        """How many requests the A/B assigned to an arm."""
        return int(self.served[name]["assigned"].sum())

    def compare(self, treatment: str) -> dict[str, Entry]:
        """Every compared metric's entry."""
        entries = {}
        for metric in COMPARED:
            if isinstance(metric, LatencyQuantile):
                found = self._quantile_entry(metric, treatment)
            elif isinstance(metric, Ratio):
                found = self._ratio_entry(metric, treatment)
            else:
                raise AssertionError(
                    f"Nothing estimates lifts of a {type(metric).__name__} such as {metric.name}."
                )
            arm = labels(self.users, "arm", (self.question.control, treatment))
            entries[metric.name] = found | {
                "needed": needed(found, int((arm >= 0).sum()), self.question.days)
            }
        return entries

    def values(self, arm: str) -> dict[str, Entry]:
        """Every metric of one arm by itself (raw, not CUPED-adjusted), with its interval and true value."""
        rows = labels(self.users, "arm", self.question.arms) == self.question.arms.index(arm)
        found = {}
        for metric in RATIOS:
            table = columns(self.users, metric.top, metric.below, "user_id")
            interval = clustered_share if metric.unit == "fraction" else clustered_ratio
            own = interval(
                table[metric.top][rows],
                table[metric.below][rows],
                table["user_id"][rows],
                self.question.level,
            )
            # An arm's true value is its own world's; pairing it with itself gives that and no lift.
            world = None if self.worlds is None else self.worlds[arm]
            true = None if world is None else true_lift(world, world, metric).control
            found[metric.name] = _value(own, true, metric.unit)
        return found | self._serving_values(arm)

    def _serving_values(self, name: str) -> dict[str, Entry]:
        """One arm's quantiles and shares: as assigned with intervals, and over all its requests."""
        found: dict[str, Entry] = {}
        for metric in QUANTILES:
            assigned, every = (self._quantile(name, metric.p, assigned=a) for a in (True, False))
            own = ArmValue(None, None) if assigned is None else ArmValue(assigned.value, assigned.ci)
            found[metric.name] = _value(own, None if every is None else every.value, metric.unit)
        served = self.served[name]
        mine, missed = served["assigned"].astype(bool), served["missed"].astype(bool)
        for share in SHARES:
            hit = share.of(missed, served["step"])
            user = served["user_id"][mine]
            own = clustered_share(hit[mine], np.ones(len(user)), user, self.question.level)
            true = float(hit.mean()) if len(hit) else None
            found[share.name] = _value(own, true, share.unit)
        return found

    def pairs(self) -> list[Entry]:
        """Every treatment over each later one in truth, in the primary metric, paired by user."""
        metric = next(metric for metric in COMPARED if metric.name == self.question.primary)
        found = []
        for treatment, against in combinations(self.question.treatments, 2):
            true = self._true(metric, against, treatment)
            names = {"treatment": treatment, "against": against, "metric": metric.name}
            found.append({**names, "true_lift": true.lift, "true_se": true.se})
        return found

    def paired(self) -> Table | None:
        """The table `paired`: what each user adds to every true lift; None where that is unknown."""
        question, worlds = self.question, self.worlds
        metric = next(metric for metric in COMPARED if metric.name == question.primary)
        if worlds is None or not isinstance(metric, Ratio):
            return None
        control, parts = worlds[question.control], []
        for name in question.treatments:
            added = added_by_user(control, worlds[name], metric)
            if added is None:
                return None
            parts.append(added)
        times = len(parts)
        return {
            "arm": np.repeat(question.treatments, len(control["user_id"])),
            "user_id": np.tile(control["user_id"], times),
            "requests": np.tile(control["requests"], times),
            "log_lift": np.concatenate(parts),
        }

    def _true(self, metric: Metric, control: str, treatment: str) -> TrueLift:
        """A metric's true lift of one arm over another."""
        pair = (control, treatment)
        if isinstance(metric, LatencyQuantile):
            # A true quantile needs every request in both arms.
            if len({len(self.served[name]["user_id"]) for name in pair}) > 1:
                return UNKNOWN
            return true_quantile_lift(*(self._quantile(name, metric.p, assigned=False) for name in pair))
        if self.worlds is None or not isinstance(metric, Ratio):
            return UNKNOWN
        paths = None if self.paths is None else (self.paths[control], self.paths[treatment])
        return true_lift(self.worlds[control], self.worlds[treatment], metric, paths)

    def _ratio_entry(self, metric: Ratio, treatment: str) -> Entry:
        question = self.question
        true = self._true(metric, question.control, treatment)
        entry = asdict(self._estimate(metric, treatment, question.level))
        treatments = len(question.treatments)
        if question.sequential is not None and treatments > 1:
            # Always-valid intervals hold together by Bonferroni's rule.
            entry["ci_together"] = self._estimate(metric, treatment, 1 - (1 - question.level) / treatments).ci
        return {**entry, "unit": metric.unit, "role": question.role(metric), **_true_entry(true)}

    def _estimate(self, metric: Ratio, treatment: str, level: float) -> Estimate:
        question = self.question
        return estimate(
            self.users,
            metric,
            question.control,
            treatment,
            level=level,
            winsorise=question.winsorise,
            sequential=question.sequential,
        )

    def _quantile_entry(self, metric: LatencyQuantile, treatment: str) -> Entry:
        """The metric entry of a quantile: assigned requests estimate it, all requests know it."""
        question, p = self.question, metric.p
        names = (question.control, treatment)
        control, other = (self._quantile(name, p, assigned=True) for name in names)
        true = self._true(metric, *names)
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
            "role": question.role(metric),
            "lift": lift and lift.lift,
            "ci": lift and lift.ci,
            "level": question.level,
            "method": "log-ratio of quantiles, user-clustered order statistics",
            "p_value": lift and lift.p_value,
            **_true_entry(true),
            "mde": lift and lift.mde,
            "n": sum(self.requests(name) for name in names),
            "se_log": lift and lift.se_log,
            "df": lift and lift.df,
            "control_share": lift and lift.control_share,
            "variance_reduction": None,
            "reason": reason,
        }

    def _quantile(self, name: str, p: float, *, assigned: bool) -> Quantile | None:
        """One arm's quantile, of its assigned requests or of the whole trace."""
        if (name, assigned) not in self._known:
            served = self.served[name]
            rows = served["assigned"].astype(bool) if assigned else slice(None)
            latency, user = served["latency_ms"][rows].astype(np.float64, copy=False), served["user_id"][rows]
            shares = [metric.p for metric in QUANTILES]
            self._known[name, assigned] = clustered_quantiles(latency, user, shares, self.question.level)
            let_go(served["latency_ms"], served["user_id"])
        return self._known[name, assigned][p]


def together(compared: Mapping[str, dict[str, Entry]], level: float) -> dict[str, dict[str, Entry]]:
    """Entries of several treatments with what holds for all of them at once (Dunnett).

    Adds ci_together and p_together where there are several treatments and an interval.

    Args:
        compared: by treatment, by metric, its entry.
        level: of the intervals.
    """
    found = {arm: {name: dict(entry) for name, entry in entries.items()} for arm, entries in compared.items()}
    if len(found) < 2:
        return found
    for name in dict.fromkeys(name for entries in found.values() for name in entries):
        family = [e[name] for e in found.values() if name in e and e[name].get("p_value") is not None]
        if not family:
            continue
        shares, df = [e["control_share"] for e in family], [e["df"] for e in family]
        c = dunnett_factor(shares, df, level)
        # In standard errors, by which an interval's own ends and its test were made.
        distances = [float(stats.t.isf(max(e["p_value"], _SMALLEST_P) / 2, e["df"])) for e in family]
        for entry, p in zip(family, dunnett_p(distances, shares, df), strict=True):
            wider = c / float(stats.t.isf((1 - level) / 2, entry["df"]))
            entry |= {"ci_together": _stretched(entry, wider), "p_together": p}
    return found


def _stretched(entry: Entry, times: float) -> tuple[float, float]:
    """An interval whose ends are so many times as far from the lift, on the logarithm."""
    middle = log_of(entry["lift"])
    low, high = (lift_of(middle + times * (log_of(end) - middle)) for end in entry["ci"])
    return low, high


def needed(entry: Mapping[str, Any], users: int, days: float | None) -> Entry | None:
    """What telling the true lift with 80 % power would take, at the same requests of a user; None if unknown.

    Args:
        entry: a metric's entry.
        users: of both arms.
        days: of the experiment; more days are taken to bring users as quickly as these did.
    """
    lift, se = entry.get("true_lift"), entry.get("se_log")
    times = None if lift is None or se is None else times_the_size(lift, se, entry["level"])
    if times is None:
        return None
    return {
        "lift": lift,
        "requests": math.ceil(entry["n"] * times),
        "users": math.ceil(users * times),
        "days": None if days is None else math.ceil(days * times),
    }


def _value(own: ArmValue, true_value: float | None, unit: str) -> Entry:
    return {"value": own.value, "ci": own.ci, "true_value": true_value, "unit": unit}


def _true_entry(true: TrueLift) -> Entry:
    return {
        "true_lift": true.lift,
        "true_se": true.se,
        "true_control": true.control,
        "true_treatment": true.treatment,
    }


def _worlds(truth: Table, arms: tuple[str, ...]) -> dict[str, dict[str, Array]]:
    """The truth table by arm and user."""
    table = columns(truth, "user_id", *OUTCOME_COLUMNS)
    arm = labels(truth, "arm", arms)
    return {name: by_user({k: v[arm == i] for k, v in table.items()}) for i, name in enumerate(arms)}
