"""A table of one's own as a scorecard: the same estimates, checks and verdict, without a truth.

Start at `analyze`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.arm_values import clustered_ratio
from simulator.analysis.entries import together
from simulator.analysis.guardrails import Guardrails
from simulator.analysis.inference import estimate_arms, winsorised
from simulator.analysis.metrics import ColumnMetric
from simulator.analysis.scorecard import by_role, overall, srm_entry
from simulator.analysis.srm import check_split
from simulator.analysis.verdict import Case, verdicts
from simulator.metrics import Metric
from simulator.outside.read import TableError, Totals, read_totals
from simulator.results.files import plain
from simulator.results.schemas import SCORECARD_VERSION

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class Analysis:
    """What is asked of a table.

    Attributes:
        unit, arm: the columns that say whose row it is, and in which arm.
        control: the arm that the others are compared with.
        metrics: the first is the primary one.
        level: of the intervals.
        split: planned share of each arm; equal ones by default.
        sequential: units at which always-valid intervals shall be tightest; None for intervals of one look.
        winsorise: share of units whose totals of a numerator stay as they are; None for all.
        guardrails: metrics that must not get worse, with their margins.
        lower: metrics of which less is better.
    """

    unit: str
    arm: str
    control: str
    metrics: tuple[ColumnMetric, ...]
    level: float = 0.95
    split: Mapping[str, float] | None = None
    sequential: float | None = None
    winsorise: float | None = None
    guardrails: Mapping[str, float] = field(default_factory=dict)
    lower: Sequence[str] = ()

    def __post_init__(self) -> None:
        known = [metric.name for metric in self.metrics]
        for name in (*self.guardrails, *self.lower):
            if name not in known:
                raise TableError(
                    f"Found no metric {name!r}, expected one of {', '.join(known)}. Add it with --metric."
                )


def analyze(path: Path, asked: Analysis) -> dict[str, Any]:
    """Judge the arms of a table.

    Args:
        path: a Parquet or CSV file with a row per unit or per event.
        asked: what of it.

    Returns:
        A scorecard (see docs/results.md), "source": "table"; what only a simulation knows is null.

    Raises:
        TableError: the table does not say what it is asked, see `read_totals`.
    """
    names = dict.fromkeys(name for metric in asked.metrics for name in metric.columns if name is not None)
    covariates = [name for m in asked.metrics for name in (m.pre_top, m.pre_below) if name is not None]
    totals = read_totals(path, asked.unit, asked.arm, tuple(names), once=covariates)
    arms = _arms(totals, asked)
    counts = {name: int((totals.arm == totals.arms.index(name)).sum()) for name in arms}
    values = {metric.name: _values(totals, metric, asked.winsorise) for metric in asked.metrics}
    srm = check_split(counts, _split(arms, asked.split))
    treatments = [name for name in arms if name != asked.control]
    compared = {name: _entries(totals, values, asked, name, len(treatments)) for name in treatments}
    entries = together(compared, asked.level)
    primary = asked.metrics[0].name
    judged = verdicts(
        {
            name: Case(entries[name], min(counts[asked.control], counts[name]), names=(asked.control, name))
            for name in treatments
        },
        primary,
        srm,
        Guardrails(margins=_margins(asked)),
        {metric.name: _metric(metric, asked) for metric in asked.metrics},
    )
    of_arm = {
        name: {
            "role": "control" if name == asked.control else "treatment",
            "units": counts[name],
            "requests": int(totals.rows[totals.arm == totals.arms.index(name)].sum()),
            "metrics": {n: _UNKNOWN | e for n, e in entries.get(name, {}).items()},
            "verdict": judged.get(name),
            "latency": {},
            "values": {m.name: _own(totals, values[m.name], name, asked.level) for m in asked.metrics},
        }
        for name in arms
    }
    card: dict[str, Any] = {
        "schema_version": SCORECARD_VERSION,
        "run": path.name,
        "source": "table",
        "status": "finished",
        "seed": None,
        "service_times": None,
        "level": asked.level,
        "notes": _notes(totals),
        "srm": srm_entry(srm),
        "verdict": overall(judged),
        "arms": of_arm,
    }
    if len(arms) == 2:
        card |= by_role(asked.control, treatments[0], of_arm)
    safe: dict[str, Any] = plain(card)
    return safe


_UNKNOWN = dict.fromkeys(("true_lift", "true_se", "true_control", "true_treatment", "needed"))


def _arms(totals: Totals, asked: Analysis) -> list[str]:
    found = ", ".join(map(repr, totals.arms[:10])) + (", ..." if len(totals.arms) > 10 else "")
    if asked.control not in totals.arms:
        raise TableError(
            f"Column {asked.arm!r} holds {found}, expected the control {asked.control!r} among them. "
            "Name one of these with --control."
        )
    if len(totals.arms) < 2:
        raise TableError(
            f"Column {asked.arm!r} holds {found} alone, expected at least two arms. Name the column that "
            "says which arm a unit was in."
        )
    if len(totals.arms) > _MOST_ARMS:
        raise TableError(
            f"Column {asked.arm!r} holds {len(totals.arms)} values, {found}; expected at most "
            f"{_MOST_ARMS} arms. Name the column that says which arm a unit was in."
        )
    return [asked.control, *sorted(name for name in totals.arms if name != asked.control)]


_MOST_ARMS = 100


def _split(arms: Sequence[str], split: Mapping[str, float] | None) -> dict[str, float]:
    if split is None:
        return dict.fromkeys(arms, 1 / len(arms))
    return {name: split[name] for name in arms if name in split} | dict(split)


def _values(totals: Totals, metric: ColumnMetric, winsorise: float | None) -> F8:
    """(U, 2 or 4) the metric's totals and its covariate's."""
    ones = np.ones(len(totals.arm))
    columns = [ones if name is None else totals.of[name] for name in metric.columns]
    for name, column in zip(metric.columns[1::2], columns[1::2], strict=True):
        if (column < 0).any():
            raise TableError(
                f"Column {name!r} is below 0 for {int((column < 0).sum())} units, expected a denominator of "
                "0 or more, such as a count. Name another column, or leave these units out."
            )
    return winsorised(np.stack(columns, axis=1), np.ones(len(ones), np.bool_), winsorise)


def _entries(
    totals: Totals, values: Mapping[str, F8], asked: Analysis, treatment: str, treatments: int
) -> dict[str, dict[str, Any]]:
    pair = (asked.control, treatment)
    rows = [totals.arm == totals.arms.index(name) for name in pair]
    n = int(totals.rows[rows[0] | rows[1]].sum())
    found = {}
    for metric in asked.metrics:
        arms = values[metric.name][rows[0]], values[metric.name][rows[1]]
        more: dict[str, Any] = {"sequential": asked.sequential, "winsorise": asked.winsorise}
        entry = asdict(estimate_arms(arms, metric, pair, n, level=asked.level, **more))
        if asked.sequential is not None and treatments > 1:
            # Always-valid intervals hold together by Bonferroni's rule.
            level = 1 - (1 - asked.level) / treatments
            entry["ci_together"] = estimate_arms(arms, metric, pair, n, level=level, **more).ci
        found[metric.name] = {**entry, "unit": "number", "role": _role(metric, asked)}
    return found


def _role(metric: ColumnMetric, asked: Analysis) -> str:
    if metric is asked.metrics[0]:
        return "primary"
    return "guardrail" if metric.name in asked.guardrails else "secondary"


def _margins(asked: Analysis) -> dict[str, float | None]:
    """The guardrails asked for and no others: a column may be called as one of the simulator's metrics."""
    return {metric.name: asked.guardrails.get(metric.name) for metric in asked.metrics}


def _metric(metric: ColumnMetric, asked: Analysis) -> Metric:
    meaning = f"{metric.top} per {metric.denominator or 'unit'}"
    name, lower = metric.name, metric.name in asked.lower
    better: Literal["higher", "lower"] = "lower" if lower else "higher"
    return Metric(name=name, unit="number", label=name, words=name, meaning=meaning, better=better)


def _own(totals: Totals, values: F8, arm: str, level: float) -> dict[str, Any]:
    rows = totals.arm == totals.arms.index(arm)
    own = clustered_ratio(values[rows, 0], values[rows, 1], np.arange(rows.sum(), dtype=np.uint64), level)
    return {"value": own.value, "ci": own.ci, "true_value": None, "unit": "number"}


def _notes(totals: Totals) -> list[str]:
    lines = [f"{len(totals.arm):,} units in {int(totals.rows.sum()):,} rows."]
    if totals.constant:
        named = ", ".join(totals.constant)
        lines.append(f"The same in every row of a unit, so taken once and not added up: {named}.")
    return lines
