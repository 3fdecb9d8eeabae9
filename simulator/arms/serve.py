"""One arm's part of an experiment: its timing plane, its store and its models, in a process of its own.

The same task serves a run (one budget) and a sweep (many): all budgets are served first, then the
union of the (request, ladder step) pairs they need is scored once.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.clock import Clock, profile_times
from simulator.arms.live import serve_live
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan
from simulator.arms.scores import F4, score_inputs, score_needed
from simulator.execution import interrupts
from simulator.execution.checkpoints import inputs_of, kept
from simulator.inputs.prepare import Prepared
from simulator.serving.pipeline import Served, serve
from simulator.serving.profile import ServiceProfile, to_json

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class ArmTask:
    """What a worker needs to serve one arm.

    Attributes:
        plan, arm: which of what.
        trained: the experiment's models.
        clock, profile: the timing plane's.
        budgets_s: the latency budgets to serve under, None for no deadline.
        folder: the arm's checkpoints, and its store meanwhile.
    """

    plan: Plan
    arm: Arm
    trained: Mapping[ModelSpec, TrainedModel]
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
    _ = task.plan.prepared  # the longest wait before the first checkpoint
    interrupts.check()
    with _store_folder(task.folder) as store:
        if task.plan.config.experiment.service_times == "live":
            return _live(task, store)
        return _from_profile(task, store)


@contextmanager
def _store_folder(folder: Path) -> Iterator[Path]:
    """A fresh folder for the arm's store, removed in the end.

    Fresh, because a worker whose parent was killed may still write to its own for a second.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("store-*"):
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix="store-", dir=folder, ignore_cleanup_errors=True) as store:
        yield Path(store)


def _from_profile(task: ArmTask, store: Path) -> ArmResult:
    plan, arm = task.plan, task.arm
    available = plan.prepared.history_available
    clamped: dict[str, int] = {}
    served = []
    for budget_s in task.budgets_s:
        interrupts.check()
        times = profile_times(plan, arm, task.profile)
        served.append(serve(task.clock.sim_arrival_s, available, arm.serving, times, budget_s))
        clamped = {stage: clamped.get(stage, 0) + count for stage, count in times.clamped.items()}
    needed = needed_scores(plan.prepared, arm, served)
    logits = score_needed(plan, arm, needed, task.trained, store / "profile", task.folder)
    return ArmResult(arm.name, tuple(served), logits, {"outside_profile": clamped})


def _live(task: ArmTask, store: Path) -> ArmResult:
    """Serve an arm, or take what an earlier process measured; never half of each.

    Measured times cannot be replayed, so an arm that was interrupted is served from its beginning.
    """
    inputs = inputs_of(
        arm=task.arm,
        clock=(task.clock.compression, task.budgets_s),
        calibration=to_json(task.profile),
        scores=score_inputs(task.plan, task.arm, task.trained),
    )
    return kept(task.folder / "live", inputs, partial(_measured, task, store), _packed, _unpacked)


def _measured(task: ArmTask, store: Path) -> ArmResult:
    plan, arm = task.plan, task.arm
    (budget_s,) = task.budgets_s
    served, logits, notes = serve_live(
        plan, arm, task.clock, task.profile, budget_s, task.trained, store / "live"
    )
    # What no live call computed: the control's full-history scores of degraded pre-period requests.
    missing = needed_scores(plan.prepared, arm, [served]) & np.isnan(logits[:, :, 0]).T
    if missing.any():
        rest = score_needed(plan, arm, missing, task.trained, store / "rest", None)
        logits = np.where(np.isnan(logits), rest, logits)
    return ArmResult(arm.name, (served,), logits, notes)


def _packed(result: ArmResult) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    (served,) = result.served
    return {"name": result.name, "notes": result.notes}, {"logits": result.logits, **vars(served)}


def _unpacked(meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> ArmResult:
    logits = arrays.pop("logits")
    return ArmResult(meta["name"], (Served(**arrays),), logits, meta["notes"])


def needed_scores(prepared: Prepared, arm: Arm, served: Sequence[Served]) -> NDArray[np.bool_]:
    """(R, K): which requests were answered in time by which step with a model, in any of the servings.

    The control also needs its full-history scores of the pre-period: advertisers set budgets by them.
    """
    steps = len(arm.scored_steps)
    needed = np.zeros((len(prepared.requests), steps), np.bool_)
    for one in served:
        rows = np.flatnonzero((one.step < steps) & ~one.missed)
        needed[rows, one.step[rows]] = True
    if arm.role == "control":
        needed[~prepared.in_experiment, 0] = True
    return needed


def calibrated(arm: Arm, logits: F4, trained: Mapping[ModelSpec, TrainedModel]) -> F8:
    """(K, R, C) pCTR of the arm's steps: each (model, history) has its own calibration."""
    return np.stack(
        [
            trained[arm.model_of(step)].platt[step.history].apply(of_step)
            for step, of_step in zip(arm.scored_steps, logits, strict=True)
        ]
    )
