"""Designs side by side: each drawn many times on the same market, against the truth of the same clicks.

A re-assignment draws every design anew and the clicks with it. On these clicks three kinds of world are
auctioned: control alone, treatment alone (their difference is the truth), and each design's own. What a
design's estimate differs by from the one that the same units would give in the first two worlds is
**interference**: the arms meeting in one market. Identical arms have exactly none.

Start at `compare_designs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.truth import path_error
from simulator.designs.design import Assignment, Design, Population
from simulator.designs.estimates import Reading, read
from simulator.designs.evidence import Evidence, before, worlds_apart
from simulator.designs.pages import DesignedAnswers
from simulator.errors import SimulatorError
from simulator.execution import interrupts
from simulator.execution.progress import Progress, Silent
from simulator.experiment.answers import Answers
from simulator.experiment.outcomes import Market, Play, Played
from simulator.market.budgets import exhausted, unlimited
from simulator.metrics import OUTCOMES, RATIOS, Ratio

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class Bench:
    """What designs are judged on: a market, and the two arms that are to be compared in it."""

    market: Market
    names: tuple[str, str]
    control: Answers
    treatment: Answers
    salt: str
    level: float = 0.95
    metrics: tuple[Ratio, ...] = RATIOS


@dataclass(frozen=True)
class Judged:
    """How a design did for one metric, over the re-assignments. Logarithms of ratios are called points.

    Attributes:
        estimate: the mean lift that it shows.
        sd: standard deviation of its log lift between re-assignments.
        bias, bias_se: mean log lift minus the true one, and the standard error of that.
        interference, interference_se: the part of the bias that the arms do to each other.
        rmse: root of squared bias and variance together.
        coverage: share of the intervals that contain the truth. power: share that leave out 0.
        readings: re-assignments with an interval, which are what all of this is over.
    """

    estimate: float
    sd: float
    bias: float
    bias_se: float
    interference: float
    interference_se: float
    rmse: float
    coverage: float
    power: float
    readings: int


@dataclass
class _Tally:
    """A design's readings of one metric."""

    mixed: list[Reading] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)


def compare_designs(
    bench: Bench, designs: Sequence[Design], assignments: int, progress: Progress | None = None
) -> dict[str, Any]:
    """Judge every design.

    Args:
        bench: the market and the arms.
        designs: the simplest first.
        assignments: how often each is drawn.
        progress: notified after each.

    Returns:
        "truth": by metric; "worlds": by arm, how far its budgets last; "designs": by name, its unit, how
        many, and `Judged` by metric, or the reason why it cannot be drawn.

    Raises:
        SimulatorError: fewer than 2 assignments.
    """
    if assignments < 2:
        raise SimulatorError(
            f"Found {assignments} assignments, expected at least 2: a bias needs an error. Ask for more."
        )
    told = progress or Silent()
    told.stage("designs", 0, assignments)
    population = Population.of(bench.market.prepared)
    earlier = before(population, _before(bench))
    usable, reasons = _usable(designs, population, bench)
    tallies = {design.name: {m.name: _Tally() for m in bench.metrics} for design in usable}
    totals: dict[str, list[F8]] = {name: [] for name in bench.names}
    units: dict[str, tuple[str, int]] = {}
    for i in range(assignments):
        interrupts.check()
        drawn = {d.name: d.draw(population, f"{bench.salt}/{i}", bench.market.seed) for d in usable}
        worlds, mixed = _play(bench, drawn, bench.market.path_seed(i))
        for name, world in zip(bench.names, worlds, strict=True):
            totals[name].append(world.totals)
        own = [Evidence.of(world, bench.market.book.tcpa) for world in worlds]
        for name, assignment in drawn.items():
            units[name] = (assignment.unit, _units(assignment, population))
            found = read(mixed[name], assignment, population, earlier, bench.metrics, bench.level)
            alone = read(
                worlds_apart(own[0], own[1], assignment), assignment, population, earlier, bench.metrics,
                bench.level,
            )  # fmt: skip
            for metric in found.keys() & alone.keys():
                tallies[name][metric].mixed.append(found[metric])
                tallies[name][metric].apart.append(alone[metric].log_lift)
        told.stage("designs", i + 1, assignments)
    truth = {metric.name: _truth(totals, bench.names, metric) for metric in bench.metrics}
    judged = {
        name: {
            "unit": units[name][0],
            "units": units[name][1],
            "metrics": {
                metric: asdict(_judged(tally, math.log1p(truth[metric]["lift"]), truth[metric]["se_log"]))
                for metric, tally in by_metric.items()
                if len(tally.mixed) >= 2 and truth[metric]["lift"] is not None
            },
        }
        for name, by_metric in tallies.items()
    }
    return {
        "assignments": assignments,
        "truth": truth,
        "worlds": _worlds(bench),
        "designs": {d.name: judged.get(d.name) or {"reason": reasons[d.name]} for d in designs},
    }


def _usable(
    designs: Sequence[Design], population: Population, bench: Bench
) -> tuple[list[Design], dict[str, str]]:
    """The designs that can be drawn, and why the others cannot."""
    usable, reasons = [], {}
    for design in designs:
        try:
            design.draw(population, f"{bench.salt}/0", bench.market.seed)
            usable.append(design)
        except SimulatorError as error:
            reasons[design.name] = str(error)
    return usable, reasons


def _before(bench: Bench) -> Evidence:
    """The pre-period, which control served, and where nobody's budget ends."""
    market = bench.market
    free = unlimited(len(market.days), market.advertisers)
    (found,) = market.play([Play(market.before, bench.control, market.seed, free)])
    return Evidence.of(found, market.book.tcpa)


def _play(
    bench: Bench, drawn: Mapping[str, Assignment], seed: int
) -> tuple[list[Played], dict[str, Evidence]]:
    """Auction the arms' own worlds and each assignment's on one path of clicks."""
    market = bench.market
    rows, budgets = market.experiment, market.budgets
    plays = [Play(rows, pages, seed, budgets) for pages in (bench.control, bench.treatment)]
    owners: list[str] = []
    for name, assignment in drawn.items():
        pages = DesignedAnswers(market.prepared, assignment, bench.control, bench.treatment)
        if assignment.budgets is None:
            plays.append(Play(rows, pages, seed, budgets))
            owners.append(name)
            continue
        # Arms that share no budget do not meet: each has a market of its own.
        for side, share in zip((False, True), assignment.budgets, strict=True):
            mine = rows[assignment.rows[rows] == side]
            plays.append(Play(mine, pages, seed, budgets * share))
            owners.append(name)
    played = market.play(plays)
    found: dict[str, Evidence] = {}
    for name, one in zip(owners, played[2:], strict=True):
        evidence = Evidence.of(one, market.book.tcpa)
        found[name] = found[name] + evidence if name in found else evidence
    return played[:2], found


def _units(assignment: Assignment, population: Population) -> int:
    """How many units are compared; with two sides, users."""
    if assignment.unit == "advertiser":
        return population.advertisers
    return len(np.unique(assignment.unit_of[assignment.unit_of >= 0]))


def _truth(totals: Mapping[str, Sequence[F8]], names: tuple[str, str], metric: Ratio) -> dict[str, Any]:
    """The lift between the two worlds, over the paths of clicks."""
    values, paths = [], []
    for name in names:
        by_path = np.stack(totals[name])
        path = {f"expected_{outcome}": by_path[:, k] for k, outcome in enumerate(OUTCOMES)}
        below = 1.0 if metric.below == "requests" else float(path[f"expected_{metric.below}"].mean())
        values.append(float(path[f"expected_{metric.top}"].mean()) / below if below else 0.0)
        paths.append(path)
    if not all(value > 0 for value in values):
        return {"lift": None, "se_log": None}
    return {"lift": values[1] / values[0] - 1.0, "se_log": path_error((paths[0], paths[1]), metric)}


def _judged(tally: _Tally, true: float, true_se: float) -> Judged:
    mixed = np.array([reading.log_lift for reading in tally.mixed])
    apart = np.array(tally.apart)
    n, sd = len(mixed), float(mixed.std(ddof=1))
    bias = float(mixed.mean()) - true
    between = mixed - apart
    return Judged(
        estimate=math.expm1(float(mixed.mean())),
        sd=sd,
        bias=bias,
        bias_se=math.hypot(sd / math.sqrt(n), true_se),
        interference=float(between.mean()),
        interference_se=float(between.std(ddof=1)) / math.sqrt(n),
        rmse=math.hypot(bias, sd),
        coverage=float(np.mean([reading.covers(true) for reading in tally.mixed])),
        power=float(np.mean([not reading.covers(0.0) for reading in tally.mixed])),
        readings=n,
    )


def _worlds(bench: Bench) -> dict[str, dict[str, float | None]]:
    """Of each arm serving alone: how many budgets run out, and the revenue that is missed for it."""
    market = bench.market
    rows, seed = market.experiment, market.seed
    free = unlimited(*market.budgets.shape)
    pages = (bench.control, bench.treatment)
    played = market.play(
        [Play(rows, one, seed, budgets) for one in pages for budgets in (market.budgets, free)]
    )
    found: dict[str, dict[str, float | None]] = {}
    for k, name in enumerate(bench.names):
        tight, loose = played[2 * k], played[2 * k + 1]
        revenue, without = (float(one.ledger.spend.sum()) for one in (tight, loose))
        cost = market.click_cost
        empty = None if cost is None else exhausted(tight.ledger.spend, market.budgets, cost)
        found[name] = {
            "exhausted_share": 0.0 if empty is None else float(empty.mean()),
            "revenue_missed": 1.0 - revenue / without if without > 0 else None,
        }
    return found
