"""What the model study trains on real logs, and the gaps between models there, with their two intervals.

Models train as `laser.training.presets` recommends, nothing tuned on the log: five seeds each. `real` has the
models and LASER's ablations on Complete Journey, `reach` lengths of history there; `starts` has ways for
LASER to begin, on both logs and on a generated world.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models.real_gaps import seed_interval, share_error
from benchmarks.models.study_plan import ABLATIONS, ALL, MODELS, Row, Training, made, trial_settings
from benchmarks.models.world_files import facts_of
from laser.models.laser_branch import CLOSED, OPEN
from laser.training.presets import GENERIC_START

REAL = "real"  # the part that all these rows are of
JOURNEY, KUAIRAND, WORLD = "complete-journey", "kuairand", "quick"
SEED = 1
SEEDS = (0, 1, 2, 3, 4)
NORMAL = 1.96  # of an interval of 95 % by its standard error

#: Row: (model, behaviours that it reads). Others are compared with the first.
REAL_MODELS: dict[str, tuple[str, int]] = {
    "din 50": ("din", 50),
    "laser 1,000": ("laser", 1000),
    "stca 1,000": ("stca", 1000),
    "sim all": ("sim", ALL),
    "transformer 1,000": ("transformer", 1000),
    "laser 50": ("laser", 50),
    "din 1,000": ("din", 1000),
    "no history": ("no history", 0),
}
REAL_LENGTHS: dict[str, tuple[str, int]] = {
    "laser 200": ("laser", 200),
    "laser all": ("laser", ALL),
    "din 200": ("din", 200),
    "laser 500": ("laser", 500),
    "din 500": ("din", 500),
    "stca 50": ("stca", 50),
    "stca 200": ("stca", 200),
    "stca 500": ("stca", 500),
}
#: Of study_plan.ABLATIONS, compared with "laser 1,000"; the paper's signs are on the page.
REAL_ABLATIONS = (
    "no recency", "no FFN + LN", "softmax gates", "no newest tokens", "no fusion", "M = 1", "w = 5", "w = 20",
)  # fmt: skip
OURS: dict[str, Row] = {"softmax gates with a sink": {"gates": "softmax-sink"}}


def _heads(*starts: dict[str, float]) -> Row:
    return {"heads": len(starts)} | {name: [start[name] for start in starts] for name in CLOSED}


#: Ways for LASER to begin; compared with maps that all begin at random.
STARTS: dict[str, Row] = {
    "start: random": GENERIC_START["laser"],
    "start: closed gates": _heads(CLOSED, CLOSED),
    "start: one head of two open": _heads(CLOSED, OPEN),
    "start: one head of three open": _heads(CLOSED, CLOSED, OPEN),
    "start: two heads of four open": _heads(CLOSED, CLOSED, OPEN, OPEN),
    "start: all gates open": CLOSED | {"gate_bias": 0.0},
}
KUAIRAND_HISTORY = 64  # users have 69 exposures at most
COMPARED = {
    **{name: "din 50" for name in (*REAL_MODELS, *REAL_LENGTHS) if name != "din 50"},
    **dict.fromkeys((*REAL_ABLATIONS, *OURS), "laser 1,000"),
    **{name: "start: random" for name in STARTS if name != "start: random"},
}
_SETTINGS = {model: trial_settings(model, 0) for model in MODELS}


def real() -> Iterator[Training]:
    """Complete Journey: models, then ablations."""
    for seed in SEEDS:
        for name, (model, history) in REAL_MODELS.items():
            if model == "no history":
                yield Training(REAL, JOURNEY, SEED, seed, "tuned", name, name, "base", 0)
            else:
                yield real_training(JOURNEY, seed, name, model, {}, history)
    changed = {name: ABLATIONS[name][0] for name in REAL_ABLATIONS} | OURS
    for seed in SEEDS:
        for name, options in changed.items():
            yield real_training(JOURNEY, seed, name, "laser", options, 1000)


def reach() -> Iterator[Training]:
    """Complete Journey: other lengths of history."""
    for seed in SEEDS:
        for name, (model, history) in REAL_LENGTHS.items():
            yield real_training(JOURNEY, seed, name, model, {}, history)


def starts() -> Iterator[Training]:
    """Ways for LASER to begin, where histories are short, long, and generated."""
    for world, history in ((KUAIRAND, KUAIRAND_HISTORY), (JOURNEY, 1000), (WORLD, 1000)):
        for seed in SEEDS:
            for name, options in STARTS.items():
                yield real_training(world, seed, name, "laser", options, history)


def facts_rows(rows: list[Row], drawn: Path) -> list[Row]:
    """What each log is that rows were trained on."""
    worlds = dict.fromkeys((row["world"], row["world_seed"]) for row in rows)
    found = ((world, facts_of(drawn, world, seed)) for world, seed in worlds)
    return [{"facts_of": world, **facts} for world, facts in found if facts is not None]


def real_gap_rows(rows: list[Row]) -> list[Row]:
    """The rows without their users' shares, then a row for each gap.

    A gap is in points (.01) of AUC, on a generated world of truth-weighted AUC, paired by training seed:
    `over_seeds` is Student's interval over seeds, `over_users` the one over users of the mean of the seeds.
    """
    kept = [row for row in rows if row["sauc"] is not None or "auc" in row]
    by_name: dict[tuple[str, str], dict[int, Row]] = {}
    for row in kept:
        by_name.setdefault((row["world"], row["name"]), {})[row["train_seed"]] = row
    gaps = []
    for (world, name), own in by_name.items():
        other = by_name.get((world, COMPARED.get(name, "")), {})
        if seeds := sorted({*own} & {*other}):
            pairs = [(own[seed], other[seed]) for seed in seeds]
            gaps.append({"gap": name, "to": COMPARED[name], "world": world, **gap_of(pairs)})
    return [*({k: v for k, v in row.items() if k != "by_user"} for row in rows), *gaps]


def gap_of(pairs: list[tuple[Row, Row]]) -> dict[str, Any]:
    """The mean gap of pairs of rows in points, over how many seeds, and its two intervals."""
    each = [100 * (_score(one) - _score(other)) for one, other in pairs]
    mean = float(np.mean(each))
    over_users = None
    if all("by_user" in row for pair in pairs for row in pair):
        apart = [np.subtract(one["by_user"], other["by_user"]) for one, other in pairs]
        half = 100 * NORMAL * share_error(np.mean(apart, axis=0))
        over_users = (mean - half, mean + half)
    return {"pt": mean, "seeds": len(each), "over_seeds": seed_interval(each), "over_users": over_users}


def _score(row: Row) -> float:
    return float(row["auc"] if row["sauc"] is None else row["sauc"])


def real_training(world: str, seed: int, name: str, model: str, options: Row, history: int) -> Training:
    """A model on a log as the presets recommend it, but for these options."""
    return made(_SETTINGS, REAL, world, SEED, seed, name, model, options, history)
