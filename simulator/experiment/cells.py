"""Cells made and served: the part of a run and of a sweep that is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from simulator.arms.arm import ModelSpec
from simulator.arms.cell import Cell
from simulator.arms.clock import Clock, Sizes, make_clock
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan
from simulator.arms.profiling.machine import calibrate
from simulator.arms.serve import ArmResult, serve_cells, servings
from simulator.arms.training import trainings
from simulator.execution import interrupts
from simulator.execution.checkpoints import inputs_of, kept
from simulator.execution.parallel import run_works, start_importing
from simulator.experiment.carry import Job
from simulator.experiment.judge import machine_in_words
from simulator.inputs.prepare import prepare
from simulator.inputs.shared import share
from simulator.serving.profile import ServiceProfile, from_json, to_json


def served_cells(
    plans: Sequence[Plan], job: Job[Any], models: Callable[[Plan], Path], settled: Clock | None = None
) -> list[tuple[Cell, list[ArmResult]]]:
    """Build the world, train the models, size the timing planes and serve every arm of every plan.

    Args:
        plans: experiments in one world.
        job: what is carried out; its manifest learns what became known.
        models: each plan's folder for model checkpoints.
        settled: the clock of the experiment that the plans are changes of, see `make_clock`.

    Returns:
        By plan, its cell and its arms' results.

    Raises:
        Interrupted: that was asked for; what was computed is kept.
    """
    progress = job.progress
    progress.stage("world", 0, 1)
    world = plans[0].world
    start_importing(job.jobs, sum(len(plan.arms) for plan in plans))
    prepare(world, job.jobs)
    progress.stage("world", 1, 1)
    interrupts.check()
    sharing = partial(share, world, job.work)
    training, arms = trainings(plans, models, job.work / "training"), job.work / "arms"
    if not _side_by_side(plans):
        trained = training.models(run_works(training.works, job.jobs, progress, sharing))
        cells = _cells(plans, trained, job, settled)
        _note(cells, job)
        return list(zip(cells, serve_cells(cells, arms, job.jobs, progress, sharing), strict=True))
    cells = _cells(plans, [{}] * len(plans), job, settled)
    _note(cells, job)
    serving = servings(cells, training.inputs, arms, job.jobs, training.places)
    done = run_works([*training.works, *serving.works], job.jobs, progress, sharing)
    trained = training.models(done[: len(training.works)])
    cells = [replace(cell, trained=its) for cell, its in zip(cells, trained, strict=True)]
    _note(cells, job)
    return list(zip(cells, serving.results(done[len(training.works) :]), strict=True))


def _side_by_side(plans: Sequence[Plan]) -> bool:
    """Whether an arm may be served while other models are trained: not where service times are measured, and
    not where both would share the memory of a GPU."""
    return all(plan.profile is not None and plan.device == "cpu" for plan in plans)


def _cells(
    plans: Sequence[Plan],
    trained: Sequence[Mapping[ModelSpec, TrainedModel]],
    job: Job[Any],
    settled: Clock | None,
) -> list[Cell]:
    sizes: Sizes = {}
    cells = []
    for plan, its_models in zip(plans, trained, strict=True):
        profile = plan.profile or _calibration(plan, its_models, job)
        cells.append(Cell(plan, its_models, profile, make_clock(plan, profile, sizes, settled)))
    return cells


def _calibration(plan: Plan, trained: Mapping[ModelSpec, TrainedModel], job: Job[Any]) -> ServiceProfile:
    """What a live run sizes itself and predicts by: what this machine did when the run began."""
    models = sorted(model.digest for model in trained.values())
    inputs = inputs_of(arms=plan.arms, models=models, data=plan.prepared.digest, device=plan.device)

    def measure() -> ServiceProfile:
        interrupts.check()
        return calibrate(plan, trained, job.work / "calibrating", job.progress)

    path = job.work / "calibration"
    return kept(
        path, inputs, measure, lambda made: (to_json(made), {}), lambda meta, _: from_json(meta, str(path))
    )


def _note(cells: Sequence[Cell], job: Job[Any]) -> None:
    """Put into the manifest what the cells have in common, and their models."""
    notes = [
        {
            "profile_machine": machine_in_words(cell.profile),
            "time_compression": cell.clock.compression,
            "budget_ms": None if cell.clock.budget_s is None else cell.clock.budget_s * 1000.0,
            "unloaded_p95_ms": cell.clock.unloaded_p95_s * 1000.0,
            "capacity_rps": cell.clock.capacity_rps,
        }
        for cell in cells
    ]
    shared = {
        key: value if all(one[key] == value for one in notes) else None for key, value in notes[0].items()
    }
    root = job.writer.path
    models = {
        str(model.path.relative_to(root / "models").with_suffix("")): model.note(root)
        for cell in cells
        for model in cell.trained.values()
    }
    known = job.writer.manifest.get("models") or {}
    job.writer.update_manifest(**shared, models={**known, **models})
