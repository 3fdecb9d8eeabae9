"""One arm's part of an experiment: its timing plane, its store and its models, in a process of its own.

The same task serves a run (one budget) and a sweep (many): all budgets are served first, then the
union of the (request, ladder step) pairs they need is scored once.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.experiment.config import parse_config
from simulator.experiment.live import serve_live
from simulator.experiment.prepare import Prepared, prepare
from simulator.experiment.timing import Clock, profile_times, serving_arm
from simulator.experiment.training import ModelSpec, TrainedModel, arm_ladder, step_spec
from simulator.experiment.value_plane import F4, score_needed
from simulator.serving.pipeline import Served, serve
from simulator.serving.profile import ServiceProfile

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class ArmTask:
    """What a worker needs to serve one arm.

    Attributes:
        config: the resolved experiment file.
        name: the arm.
        trained: the experiment's models.
        clock, profile: the timing plane's.
        budgets_s: the latency budgets to serve under, None for no deadline.
        folder: where the arm's store lives meanwhile.
    """

    config: str
    name: str
    trained: dict[ModelSpec, TrainedModel]
    clock: Clock
    profile: ServiceProfile
    budgets_s: tuple[float | None, ...]
    folder: Path


@dataclass(frozen=True)
class ArmResult:
    """An arm's timing plane under each budget, and its scores.

    Attributes:
        served: one a budget.
        logits: (K, R, C) by ladder step, NaN where no budget needed them.
        notes: for the manifest: lookups outside the profile, the binding's share of live reads.
    """

    name: str
    served: tuple[Served, ...]
    logits: F4
    notes: dict[str, Any] = field(default_factory=dict)


def serve_arm(task: ArmTask) -> ArmResult:
    """Serve the trace with one arm, read its store and run its models."""
    prepared = prepare(parse_config(task.config))
    try:
        if prepared.config.experiment.service_times == "live":
            return _live(prepared, task)
        return _from_profile(prepared, task)
    finally:
        shutil.rmtree(task.folder, ignore_errors=True)


def _from_profile(prepared: Prepared, task: ArmTask) -> ArmResult:
    arm = serving_arm(prepared.config, task.name)
    clamped: dict[str, int] = {}
    served = []
    for budget_s in task.budgets_s:
        times = profile_times(prepared, task.name, task.profile)
        served.append(serve(task.clock.sim_arrival_s, prepared.history_available, arm, times, budget_s))
        clamped = {stage: clamped.get(stage, 0) + count for stage, count in times.clamped.items()}
    needed = needed_scores(prepared, task.name, served)
    logits = score_needed(prepared, task.name, needed, task.trained, task.folder)
    return ArmResult(task.name, tuple(served), logits, {"outside_profile": clamped})


def _live(prepared: Prepared, task: ArmTask) -> ArmResult:
    (budget_s,) = task.budgets_s
    served, logits, notes = serve_live(
        prepared, task.name, task.clock, task.profile, budget_s, task.trained, task.folder / "live"
    )
    # What no live call computed: the control's full-history scores of degraded pre-period requests.
    missing = needed_scores(prepared, task.name, [served]) & np.isnan(logits[:, :, 0]).T
    if missing.any():
        rest = score_needed(prepared, task.name, missing, task.trained, task.folder / "rest")
        logits = np.where(np.isnan(logits), rest, logits)
    return ArmResult(task.name, (served,), logits, notes)


def needed_scores(prepared: Prepared, name: str, served: list[Served]) -> NDArray[np.bool_]:
    """(R, K): which requests were answered in time by which step with a model, in any of the servings.

    The control also needs its full-history scores of the pre-period: advertisers set budgets by them.
    """
    steps = len(arm_ladder(prepared.config, name)) - 1
    needed = np.zeros((len(prepared.requests), steps), np.bool_)
    for one in served:
        rows = np.flatnonzero((one.step < steps) & ~one.missed)
        needed[rows, one.step[rows]] = True
    if name == prepared.config.experiment.control:
        needed[~prepared.in_experiment, 0] = True
    return needed


def calibrated(prepared: Prepared, result: ArmResult, trained: dict[ModelSpec, TrainedModel]) -> F8:
    """(K, R, C) pCTR of the arm's steps: each (model, history) has its own calibration."""
    ladder = arm_ladder(prepared.config, result.name)[:-1]
    return np.stack(
        [
            trained[step_spec(prepared.config, result.name, step)].platt[step.history].apply(logits)
            for step, logits in zip(ladder, result.logits, strict=True)
        ]
    )
