"""What `laser-ab calibrate` finds of a log folder: `calibrate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simulator.config.toml_writer import write_toml
from simulator.logs.calibration.levels import best_ctr, interest_gain
from simulator.logs.calibration.resembling import resembling_world
from simulator.logs.calibration.spans import Days, fit_and_test
from simulator.logs.calibration.statistics import (
    CALIBRATED,
    DISTRIBUTIONS,
    FIGURES,
    distributions,
    figures,
    kolmogorov,
)
from simulator.logs.calibration.trials import BASE, trial
from simulator.logs.example import example_of
from simulator.logs.folder import read_log
from simulator.logs.manifest import conversions_drawn, read_manifest
from simulator.logs.real_log import split_days
from simulator.logs.world import load_log_world
from simulator.world.calibrated import likeness
from simulator.world.protocol import ExperimentWorld
from simulator.world.world import World

OnProgress = Callable[[str, int, int], None]

BAR = 0.15  #: Kolmogorov distance below which a world resembles its log
SEED = 7  #: of the world that stands beside the log, and of the file
BEST_CTR = "true CTR of the best of a request's ads"
CAN_MOVE = "the most that knowing histories can add to it, as a share"
COMPARED_USERS = 4096  #: of that world, at most


def calibrate(folder: Path, fit: str | None, test: str | None, on_progress: OnProgress) -> dict[str, Any]:
    """Fit a log on some days and test it on others, and set a world beside it that was made to resemble it.

    Args:
        folder: a log folder.
        fit, test: days such as "1-4"; by default the test is on the experiment's days of the default split,
            and the fit on all before them.
        on_progress: called with (stage, done, total).

    Returns:
        "fit_days", "test_days"; "fitted" as `fit_and_test`; "distributions" and "figures", each statistic
        with its value in the log and in the world, and distributions with their Kolmogorov distance; "world",
        the parameters over the preset "base"; "world_users", how many the compared world had; "example", the
        example file that an import names for the log, whose load and histories the world's file takes.

    Raises:
        TraceError: no such log, or days that cannot serve.
    """
    manifest = read_manifest(folder)
    log, _ = read_log(folder)
    split = split_days(log.days)
    before, after = Days(0, split.experiment - 1), Days(split.experiment, split.end - 1)
    fit_days = before if fit is None else Days.parse(fit, log.days, "--fit")
    test_days = after if test is None else Days.parse(test, log.days, "--test")
    fitted = fit_and_test(log, fit_days, test_days, on_progress, not conversions_drawn(manifest))
    real = load_log_world(folder, SEED, split)
    can_move = manifest.get("shows", {}).get("history_can_move_ctr")
    overrides = resembling_world(log, real, split, can_move, on_progress)
    made = trial(overrides, COMPARED_USERS, SEED)
    return {
        "source": manifest.get("source", "KuaiRand"),
        "licence": manifest.get("licence"),
        "fit_days": str(fit_days),
        "test_days": str(test_days),
        "fitted": fitted,
        **_beside(real, made, can_move),
        "base": BASE,
        "world": overrides,
        "world_users": made.config.users,
        "example": example_of(manifest).says,
    }


def _beside(real: ExperimentWorld, made: World, can_move: float | None) -> dict[str, Any]:
    drawn = [distributions(each) for each in (real, made)]
    single = [figures(each, found) for each, found in zip((real, made), drawn, strict=True)]
    compared = {}
    for name, meaning in DISTRIBUTIONS.items():
        compared[name] = {
            "meaning": meaning,
            "log": _quantiles(drawn[0][name]),
            "world": _quantiles(drawn[1][name]),
            "distance": kolmogorov(drawn[0][name], drawn[1][name]),
            "bar": BAR if name in CALIBRATED else None,
        }
    values = {
        name: {"meaning": meaning, "log": single[0][name], "world": single[1][name]}
        for name, meaning in FIGURES.items()
    }
    # Of the truth, which traffic alone does not show.
    for name, meaning, log, world in (
        ("best_ctr", BEST_CTR, best_ctr(real), best_ctr(made)),
        ("history_can_move_ctr", CAN_MOVE, can_move, interest_gain(made)),
    ):
        values[name] = {"meaning": meaning, "log": log, "world": world}
    return {"distributions": compared, "figures": values}


def _quantiles(drawn: Any) -> dict[str, float] | None:
    if len(drawn) == 0:
        return None
    return dict(
        zip(("p10", "p50", "p90", "p99"), np.quantile(drawn, (0.1, 0.5, 0.9, 0.99)).tolist(), strict=True)
    )


def preset_file(found: dict[str, Any]) -> str:
    """A preset of `simulator.world.presets`, whose world resembles the log."""
    return write_toml(
        {
            "log": found["source"],
            "licence": str(found["licence"]),
            "distances": {name: round(distance, 3) for name, distance in _distances(found).items()},
            "world": found["world"],
        }
    )


def _distances(found: dict[str, Any]) -> dict[str, float]:
    """Kolmogorov distances of what both the log and the world have."""
    measured = {name: entry["distance"] for name, entry in found["distributions"].items()}
    return {name: distance for name, distance in measured.items() if distance is not None}


def experiment_file(found: dict[str, Any]) -> str:
    """An experiment file whose generated world resembles the log: `laser-ab run FILE`."""
    example = found["example"]
    history = int(min(example["history"], found["world"]["history_max"]))
    short = min(50, history)
    document = {
        "seed": SEED,
        "experiment": {"name": f"like {found['source']}"[:60]},
        "traffic": {
            "preset": found["base"],
            "like": likeness(found["source"], str(found["licence"]), _distances(found)),
            "load": example["load"],
            "world": found["world"],
        },
        "arms": {
            "control": {"store": "lastn", "model": "din", "history": short},
            "treatment": {"store": "seqvault", "model": "laser", "history": history},
        },
    }
    distances = ", ".join(f"{name} {distance:.2f}" for name, distance in _distances(found).items())
    head = (
        f"# A generated world that resembles the log {found['source']!r}; made by laser-ab calibrate.\n"
        f"# Kolmogorov distances: {distances}.\n"
        f"# Licence of the log: {' '.join(str(found['licence']).split())}\n"
        f"# Load and arms are those of examples/{example['name']}.toml, which the log's import names next:\n"
        "# at another load latencies and late shares would differ for that reason alone.\n"
    )
    return head + write_toml(document)
