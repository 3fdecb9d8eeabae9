"""One world's true effects: of everybody, and of thirds of the requests by what sets them apart.

Start at `world_truth`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from simulator.analysis.truth import TrueLift, by_user, pairing_gain, true_lift
from simulator.designs.compare import Bench
from simulator.experiment.answers import ArmAnswers
from simulator.experiment.outcomes import World
from simulator.metrics import OUTCOMES, RATIOS

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

THIRDS = 3


@dataclass(frozen=True)
class Effect:
    """A true lift on the logarithm, and its standard error over this world's users and paths of clicks."""

    log_lift: float
    se: float


@dataclass(frozen=True)
class WorldTruth:
    """The true effects in one world, with the models that were trained in it.

    Attributes:
        seed: of the world.
        effects: by metric.
        thirds: by dimension, the least third first: its mean of what it is sorted by, and the effects there.
        pairing: by metric, see `pairing_gain`.
    """

    seed: int
    effects: dict[str, Effect]
    thirds: dict[str, list[tuple[float, dict[str, Effect]]]]
    pairing: dict[str, float]


def world_truth(bench: Bench, seed: int) -> WorldTruth:
    """Serve everybody by either arm, and compare.

    Args:
        bench: of the world.
        seed: of the world, to be kept with it.
    """
    market = bench.market
    # The least number of paths: what they leave open is in each effect's error, and worlds differ by more.
    worlds = market.truth(dict(zip(bench.names, (bench.control, bench.treatment), strict=True)), _enough)
    pair = worlds[bench.names[0]], worlds[bench.names[1]]
    rows = market.experiment
    return WorldTruth(
        seed,
        _effects(bench, pair, rows),
        {name: _thirds(bench, pair, by) for name, by in _sorted_by(bench).items()},
        {
            metric.name: gain
            for metric in RATIOS
            if (gain := pairing_gain(*_tables(bench, pair, rows), metric)) is not None
        },
    )


def _enough(_: object) -> bool:
    return True


def _sorted_by(bench: Bench) -> dict[str, F8]:
    """(E,) of each of the experiment's requests: how many behaviours are readable, how many requests its user
    makes, and the treatment's response time [ms].
    """
    rows, prepared = bench.market.experiment, bench.market.prepared
    _, user, count = np.unique(prepared.requests.user_id[rows], return_inverse=True, return_counts=True)
    found = {
        "history": prepared.history_available[rows].astype(np.float64),
        "activity": count[user].astype(np.float64),
    }
    if isinstance(bench.treatment, ArmAnswers):
        found["latency"] = bench.treatment.served.latency_s[rows] * 1000.0
    return found


def _thirds(bench: Bench, pair: tuple[World, World], by: F8) -> list[tuple[float, dict[str, Effect]]]:
    """Thirds of the requests by rank; equal values are told apart by the order of the trace."""
    order = np.argsort(by, kind="stable")
    found = []
    for part in np.array_split(order, THIRDS):
        rows = bench.market.experiment[np.sort(part)]
        found.append((float(by[part].mean()), _effects(bench, pair, rows)))
    return found


def _effects(bench: Bench, pair: tuple[World, World], rows: I8) -> dict[str, Effect]:
    tables = _tables(bench, pair, rows)
    paths = pair[0].path_totals, pair[1].path_totals
    found = {metric.name: _effect(true_lift(*tables, metric, paths)) for metric in RATIOS}
    return {name: effect for name, effect in found.items() if effect is not None}


def _effect(true: TrueLift) -> Effect | None:
    if true.lift is None or true.se is None:
        return None
    return Effect(math.log1p(true.lift), true.se / (1.0 + true.lift))


def _tables(bench: Bench, pair: tuple[World, World], rows: I8) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Rows of the truth, as `true_lift` reads them."""
    requests = bench.market.prepared.requests
    found = []
    for world in pair:
        means = world.means(rows)
        table: dict[str, Any] = {"request_id": requests.request_id[rows], "user_id": requests.user_id[rows]}
        found.append(by_user(table | {f"expected_{name}": means[:, k] for k, name in enumerate(OUTCOMES)}))
    return found[0], found[1]


def pooled(values: list[Effect], level: float) -> dict[str, Any]:
    """What worlds say together: the mean lift, and how far worlds and trainings are apart.

    Returns:
        "lift", "ci": of the mean. "sd": between worlds, on the logarithm; "sd_users": of it, what users and
        clicks of one world explain. "covers_zero": the share of worlds whose own effect is within t·sd of 0.
        Only "lift" is known of a single world.
    """
    lifts = np.array([effect.log_lift for effect in values])
    n, mean = len(lifts), float(lifts.mean())
    users = math.sqrt(float(np.mean([effect.se**2 for effect in values])))
    found: dict[str, Any] = {"lift": math.expm1(mean), "worlds": n, "sd_users": users}
    if n < 2:
        return found | {"ci": None, "sd": None, "covers_zero": None}
    sd = float(lifts.std(ddof=1))
    t = float(stats.t.ppf((1 + level) / 2, n - 1))
    half = t * sd / math.sqrt(n)
    return found | {
        "ci": [math.expm1(mean - half), math.expm1(mean + half)],
        "sd": sd,
        "covers_zero": float((np.abs(lifts) <= t * sd).mean()),
    }
