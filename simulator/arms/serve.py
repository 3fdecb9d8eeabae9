"""One arm's part of an experiment: its timing plane, its store and its models, in a process of its own.

The same task serves a run (one budget) and a sweep (many): all budgets are served first, then the
union of the (request, ladder step) pairs they need is scored once.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arms.clock import Clock, profile_times, serving_arm
from simulator.arms.live import serve_live
from simulator.arms.scores import F4, score_needed
from simulator.arms.training import ModelSpec, TrainedModel, arm_ladder, step_spec
from simulator.config.load import parse_config
from simulator.execution import interrupts
from simulator.execution.checkpoints import ignore, read, write
from simulator.inputs.prepare import Prepared, prepare
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
        folder: the arm's checkpoints, and its store meanwhile.
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
    interrupts.check()
    with _store_folder(task.folder) as store:
        if prepared.config.experiment.service_times == "live":
            return _live(prepared, task, store)
        return _from_profile(prepared, task, store)


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


def _from_profile(prepared: Prepared, task: ArmTask, store: Path) -> ArmResult:
    arm = serving_arm(prepared.config, task.name)
    clamped: dict[str, int] = {}
    served = []
    for budget_s in task.budgets_s:
        interrupts.check()
        times = profile_times(prepared, task.name, task.profile)
        served.append(serve(task.clock.sim_arrival_s, prepared.history_available, arm, times, budget_s))
        clamped = {stage: clamped.get(stage, 0) + count for stage, count in times.clamped.items()}
    needed = needed_scores(prepared, task.name, served)
    logits = score_needed(prepared, task.name, needed, task.trained, store / "profile", task.folder)
    return ArmResult(task.name, tuple(served), logits, {"outside_profile": clamped})


def _live(prepared: Prepared, task: ArmTask, store: Path) -> ArmResult:
    """Serve an arm, or take what an earlier process measured; never half of each.

    Measured times cannot be replayed, so an arm that was interrupted is served from its beginning.
    """
    kept = _kept(task)
    if kept is not None:
        return kept
    (budget_s,) = task.budgets_s
    served, logits, notes = serve_live(
        prepared, task.name, task.clock, task.profile, budget_s, task.trained, store / "live"
    )
    # What no live call computed: the control's full-history scores of degraded pre-period requests.
    missing = needed_scores(prepared, task.name, [served]) & np.isnan(logits[:, :, 0]).T
    if missing.any():
        rest = score_needed(prepared, task.name, missing, task.trained, store / "rest", None)
        logits = np.where(np.isnan(logits), rest, logits)
    result = ArmResult(task.name, (served,), logits, notes)
    write(
        task.folder / "live", {"clock": _clock_of(task), "notes": notes}, {"logits": logits, **vars(served)}
    )
    return result


def _kept(task: ArmTask) -> ArmResult | None:
    """A live arm as an earlier process served it."""
    found = read(task.folder / "live")
    if found is None:
        return None
    meta, arrays = found
    if meta["clock"] != _clock_of(task):
        ignore(task.folder / "live", "it was served at another load")
        return None
    logits = arrays.pop("logits")
    return ArmResult(task.name, (Served(**arrays),), logits, meta["notes"])


def _clock_of(task: ArmTask) -> list[float | None]:
    return [task.clock.compression, *task.budgets_s]


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
