"""What an experimenter would read off a design: a metric's lift with its interval, by the design's own units.

Users, windows and advertisers are compared as the scorecard compares users (`estimate_arms`): totals, the
delta method, a log-ratio interval, and CUPED where units were there before. With two sides an impression
belongs to a user and to an advertiser, and both make the variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from simulator.analysis.inference import estimate_arms
from simulator.designs.design import Assignment, Population
from simulator.designs.evidence import COLUMNS, Evidence, by_unit, treated
from simulator.market.pages import F8
from simulator.metrics import Ratio


@dataclass(frozen=True)
class Reading:
    """A metric's lift as a design shows it, on the logarithm: log(treatment / control), with its interval."""

    log_lift: float
    low: float
    high: float

    def covers(self, log_lift: float) -> bool:
        """Whether the interval contains it."""
        return self.low <= log_lift <= self.high


@dataclass(frozen=True)
class Side:
    """Units of one kind: totals in both groups, a row each."""

    control: F8
    treatment: F8


def read(
    evidence: Evidence,
    assignment: Assignment,
    population: Population,
    earlier: tuple[F8, F8],
    metrics: Sequence[Ratio],
    level: float,
) -> dict[str, Reading]:
    """Every metric's reading; one without events in an arm has none.

    Args:
        evidence: the experiment's impressions under the assignment.
        assignment: of the design.
        population: users and advertisers.
        earlier: their totals before the experiment, see `before`.
        metrics: which.
        level: of the intervals.
    """
    if assignment.unit == "user and advertiser":
        found = {m.name: _two_sided(_sides(evidence, assignment, population), m, level) for m in metrics}
        return {name: reading for name, reading in found.items() if reading is not None}
    arms = _arms(evidence, assignment, population, earlier)
    readings = {}
    for metric in metrics:
        columns = [COLUMNS.index(metric.top), COLUMNS.index(metric.below)]
        if arms[0].shape[1] > len(COLUMNS):
            columns += [len(COLUMNS) + k for k in columns]
        made = estimate_arms(
            (arms[0][:, columns], arms[1][:, columns]), metric, ("control", "treatment"), 0, level=level
        )
        if made.lift is not None and made.ci is not None and made.lift > -1:
            low, high = (math.log1p(end) for end in made.ci)
            readings[metric.name] = Reading(math.log1p(made.lift), low, high)
    return readings


def _arms(
    evidence: Evidence, assignment: Assignment, population: Population, earlier: tuple[F8, F8]
) -> tuple[F8, F8]:
    """Both arms' units: their totals, and where they were there before, those before."""
    counted = assignment.unit_of[evidence.row]
    rows = assignment.unit_of >= 0
    if assignment.unit == "advertiser":
        requests = np.full(population.advertisers, float(rows.sum()))
        unit = np.where(counted >= 0, population.advertiser[evidence.ad], -1)
        table = by_unit(unit, population.advertisers, evidence.values, requests)
        arm = np.zeros(population.advertisers, np.bool_)
        arm[population.advertiser[assignment.ads]] = True
        table = np.hstack([table, earlier[1]])
        return table[~arm], table[arm]
    units = int(assignment.unit_of.max()) + 1
    requests = np.bincount(assignment.unit_of[rows], minlength=units).astype(np.float64)
    table = by_unit(counted, units, evidence.values, requests)
    arm = np.bincount(assignment.unit_of[rows], assignment.rows[rows], units) > 0
    if assignment.unit == "user":
        table = np.hstack([table, earlier[0][:units]])
    there = requests > 0
    return table[there & ~arm], table[there & arm]


def _sides(evidence: Evidence, assignment: Assignment, population: Population) -> tuple[Side, Side]:
    """Users' and advertisers' totals over the treated pairs of the two, and over the others."""
    counted = assignment.unit_of[evidence.row] >= 0
    group = treated(evidence, assignment)
    users, advertisers = len(population.user_ids), population.advertisers
    mine = np.zeros(advertisers, np.bool_)
    mine[population.advertiser[assignment.ads]] = True
    rows = assignment.unit_of >= 0
    asked = np.bincount(population.user[rows], minlength=users).astype(np.float64)
    treated_asked = np.bincount(population.user[rows & assignment.rows], minlength=users).astype(np.float64)
    exposed = treated_asked * mine.sum(), mine * treated_asked.sum()
    every = asked * advertisers, np.full(advertisers, asked.sum())
    sides = []
    for k, unit in enumerate((population.user[evidence.row], population.advertiser[evidence.ad])):
        size = (users, advertisers)[k]
        inside = by_unit(np.where(counted & group, unit, -1), size, evidence.values, exposed[k])
        outside = by_unit(np.where(counted & ~group, unit, -1), size, evidence.values, every[k] - exposed[k])
        sides.append(Side(outside, inside))
    return sides[0], sides[1]


def _two_sided(sides: tuple[Side, Side], metric: Ratio, level: float) -> Reading | None:
    """Treated pairs against all others.

    Both sides' variances are added. That counts the pairs' own part twice, so the interval is a little wide.
    """
    top, below = COLUMNS.index(metric.top), COLUMNS.index(metric.below)
    totals = [
        (float(group[:, top].sum()), float(group[:, below].sum()))
        for group in (sides[0].control, sides[0].treatment)
    ]
    if not all(y > 0 and x > 0 for y, x in totals):
        return None
    (yc, xc), (yt, xt) = totals
    parts = []
    for side in sides:
        share = side.treatment[:, top] / yt - side.treatment[:, below] / xt
        share = share - (side.control[:, top] / yc - side.control[:, below] / xc)
        n = len(share)
        parts.append((float(share @ share) * n / (n - 1), n - 1))
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return None
    df = variance**2 / sum(part**2 / n for part, n in parts)
    value = math.log(yt / xt) - math.log(yc / xc)
    half = float(stats.t.ppf((1 + level) / 2, df)) * math.sqrt(variance)
    return Reading(value, value - half, value + half)
