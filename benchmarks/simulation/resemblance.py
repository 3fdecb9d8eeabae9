"""Real logs beside generated worlds, statistic by statistic: presets made for a log, and made-up ones.

    python benchmarks/simulation/resemblance.py --log NAME=FOLDER ... [--made NAME=FILE ...]
        [--quick] [--json] [--out FILE]

NAME is `kuairand`, which the preset `feed` is to resemble, `complete-journey`, which `shop` is, or any other;
FOLDER was made by `laser-ab import`, and FILE by `laser-ab calibrate FOLDER --preset FILE`, for a log that no
shipped preset was made for. Worlds are of seed 7, of at most 4,096 users. A row is one traffic's figures and
quantiles (P10, median, P90, P99), or the Kolmogorov distances of a pair.
"""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Measured, bar, options, show
from simulator.logs.calibration.calibrate import BAR, COMPARED_USERS, SEED
from simulator.logs.calibration.statistics import (
    CALIBRATED,
    DISTRIBUTIONS,
    distributions,
    figures,
    kolmogorov,
)
from simulator.logs.folder import read_log
from simulator.logs.real_log import split_days
from simulator.logs.world import load_log_world
from simulator.world.config import WorldConfig, preset
from simulator.world.protocol import ExperimentWorld
from simulator.world.world import build_world

#: The preset made for a log, by the log.
MADE_FOR = {"kuairand": "feed", "complete-journey": "shop"}
#: Made-up worlds beside them, and users enough to see them by.
MADE_UP = {"demo": 1024, "paper": 256}
QUANTILES = (0.1, 0.5, 0.9, 0.99)
Row = dict[str, Any]


def measure(logs: dict[str, Path], made: dict[str, Path], quick: bool) -> Measured:
    """A row a traffic, then a row a pair; a bar for each pair that was made alike."""
    made_for = {**MADE_FOR, **{name: f"like {name}" for name in made}}
    given = {f"like {name}": tomllib.loads(file.read_text("utf-8"))["world"] for name, file in made.items()}
    drawn: dict[str, dict[str, Any]] = {}
    rows: list[Row] = []

    def look(name: str, kind: str, world: ExperimentWorld) -> None:
        drawn[name] = distributions(world)
        rows.append({"traffic": name, "kind": kind, **_quantiles(drawn[name]), **figures(world, drawn[name])})

    for name, folder in logs.items():
        log, _ = read_log(folder)
        look(name, "log", load_log_world(folder, SEED, split_days(log.days)))
        if name in made_for:
            whole = preset("demo", **given[made_for[name]]) if name in made else preset(made_for[name])
            look(made_for[name], "calibrated", _world(whole, COMPARED_USERS // (8 if quick else 1)))
    for name, users in MADE_UP.items():
        look(name, "made up", _world(preset(name), users // (8 if quick else 1)))
    pairs = [(name, made_for[name]) for name in logs if name in made_for]
    pairs += [(name, "demo") for name in logs]
    bars = []
    for real, other in pairs:
        distances = {name: kolmogorov(drawn[real][name], drawn[other][name]) for name in DISTRIBUTIONS}
        rows.append({"log": real, "world": other, **distances})
        if other == made_for.get(real):
            worst = max(distances[name] or 0.0 for name in CALIBRATED)
            bars.append(bar(f"{other.replace(' ', '_')}_distance", worst, BAR, better="lower"))
    return rows, bars


def _world(whole: WorldConfig, users: int) -> ExperimentWorld:
    """A world of the configuration with at most so many users and their share of the requests."""
    most = min(users, whole.users)
    requests = max(1, round(whole.requests * most / whole.users))
    return build_world(replace(whole, users=most, requests=requests), SEED)


def _quantiles(drawn: dict[str, Any]) -> Row:
    return {
        f"{name}_quantiles": np.quantile(sample, QUANTILES).tolist() if len(sample) else None
        for name, sample in drawn.items()
    }


def main() -> None:
    """Parse, measure, print."""
    parser = options(__doc__)
    parser.add_argument("--log", action="append", default=[], metavar="NAME=FOLDER", type=_named)
    parser.add_argument("--made", action="append", default=[], metavar="NAME=FILE", type=_named)
    args = parser.parse_args()
    show("resemblance", SEED, args, measure(dict(args.log), dict(args.made), args.quick))


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not Path(folder).exists():
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected NAME=PATH of a log folder or a preset's file"
        )
    return name, Path(folder)


if __name__ == "__main__":
    main()
