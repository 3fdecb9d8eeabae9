"""The true effect over worlds and trainings: one run's truth is about its own users and its own two models.

Another seed is another world, another log and other weights. Start at `truth_over_worlds`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.arms.plan import make_plan
from simulator.config.load import ExperimentConfig, changed
from simulator.designs.bench import served
from simulator.designs.strata import THIRDS, Effect, WorldTruth, pooled, world_truth
from simulator.errors import SimulatorError
from simulator.execution.parallel import run_tasks
from simulator.execution.progress import Progress, Silent
from simulator.metrics import RATIOS


@dataclass(frozen=True)
class _Task:
    config: ExperimentConfig
    treatment: str | None


def truth_over_worlds(
    config: ExperimentConfig,
    seeds: Sequence[int],
    treatment: str | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train and serve both arms in a world of each seed, and pool what is true there.

    Args:
        config: the experiment.
        seeds: of the worlds; a training seed of the file's own stays.
        treatment: against control; the first by default.
        jobs: worlds at a time, a process each; results do not depend on it.
        progress: notified after each.

    Returns:
        "metrics": by name, see `pooled`, and "by_seed": each world's lift and standard error over its users.
        "thirds": by what requests are sorted by, three entries of its mean and pooled effects. "pairing": by
        metric, the mean of `pairing_gain`.

    Raises:
        SimulatorError: no seed, or as of `served`.
    """
    if not seeds:
        raise SimulatorError("Found no seed, expected at least one. Ask for more seeds.")
    tasks = [_Task(changed(config, {"seed": seed}, "seed"), treatment) for seed in seeds]
    worlds = run_tasks(_truth, tasks, jobs, progress or Silent(), "worlds")
    level = config.experiment.level
    return {
        "seeds": list(seeds),
        "level": level,
        "metrics": {
            metric.name: pooled(known, level) | {"by_seed": _by_seed(worlds, metric.name)}
            for metric in RATIOS
            if (known := [world.effects[metric.name] for world in worlds if metric.name in world.effects])
        },
        "thirds": {name: _thirds(worlds, name, level) for name in worlds[0].thirds},
        "pairing": {
            metric.name: math.exp(float(np.mean([math.log(gain) for gain in gains])))
            for metric in RATIOS
            if (gains := [world.pairing[metric.name] for world in worlds if metric.name in world.pairing])
        },
    }


def _truth(task: _Task) -> WorldTruth:
    with served(make_plan(task.config), task.treatment, 1, Silent()) as bench:
        return world_truth(bench, task.config.seed)


def _by_seed(worlds: Sequence[WorldTruth], metric: str) -> list[dict[str, float]]:
    return [
        {"seed": world.seed, "lift": math.expm1(effect.log_lift), "se_log": effect.se}
        for world in worlds
        if (effect := world.effects.get(metric)) is not None
    ]


def _thirds(worlds: Sequence[WorldTruth], name: str, level: float) -> list[dict[str, Any]]:
    found = []
    for third in range(THIRDS):
        parts = [world.thirds[name][third] for world in worlds]
        effects: dict[str, list[Effect]] = {}
        for _, by_metric in parts:
            for metric, effect in by_metric.items():
                effects.setdefault(metric, []).append(effect)
        pools = {metric: pooled(values, level) for metric, values in effects.items()}
        found.append({"mean": float(np.mean([mean for mean, _ in parts])), "metrics": pools})
    return found
