"""One experiment, from its configuration to a run folder with a verdict. Start at `run_experiment`.

world -> models -> each arm: timing plane, store, scores -> market worlds -> tables -> scorecard
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.arms.arm import ModelSpec
from simulator.arms.clock import make_clock
from simulator.arms.models import TrainedModel
from simulator.arms.outlook import refuse
from simulator.arms.plan import Plan, make_plan
from simulator.arms.profiling import calibrate
from simulator.arms.serve import ArmResult, ArmTask, serve_arm
from simulator.arms.training import train_models
from simulator.config.load import ExperimentConfig, to_toml
from simulator.execution import interrupts
from simulator.execution.checkpoints import inputs_of, kept
from simulator.execution.environment import commit, hardware, versions
from simulator.execution.fingerprint import CONFIG, fingerprint
from simulator.execution.parallel import run_tasks
from simulator.execution.progress import Progress, Silent
from simulator.execution.resume import WORK, check_unchanged, continued_by
from simulator.experiment.judge import Judge, Ready, machine_in_words, scorecard
from simulator.inputs.worlds import LogSource, world_notes
from simulator.results.files import write_text
from simulator.results.read import read_run
from simulator.results.run_folder import FolderWriter, RunWriter, free_folder
from simulator.serving.profile import ServiceProfile, from_json, to_json

RUNS = Path("runs")


def run_experiment(
    config: ExperimentConfig,
    out: Path | None = None,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Run an experiment and write its folder.

    Args:
        config: what to run.
        out: the run folder, `runs/NAME` by default; where something is there already, the next free
            sibling (NAME-2, ...), so that nothing is overwritten.
        jobs: worker processes; results do not depend on it.
        progress: told where the work stands.

    Returns:
        The run folder.

    Raises:
        ValueError: the configuration, profile or a checkpoint cannot be used, or the device is absent.
        ResultsError: the folder cannot be written.
    """
    refuse(config)
    plan = make_plan(config)
    folder = free_folder(out or RUNS / config.experiment.name)
    with RunWriter.create(folder, manifest(plan), {CONFIG: to_toml(config)}) as writer:
        _complete(writer, plan, jobs, progress)
    return folder


def resume_experiment(folder: Path, *, jobs: int = 1, progress: Progress | None = None) -> Path:
    """Bring an interrupted or failed run to its end, in its own folder; a finished one is left as it is.

    In profile mode its tables are those of a run that was never interrupted, byte for byte.

    Args:
        folder: the run folder.
        jobs, progress: as in `run_experiment`.

    Raises:
        ResumeError: it is running, or its inputs are not what it began with.
        ValueError, ResultsError: as `run_experiment`.
    """
    found = read_run(folder)
    if found.status == "finished":
        return folder
    plan = make_plan(check_unchanged(found))
    with RunWriter.reopen(folder) as writer:
        _complete(writer, plan, jobs, progress)
    return folder


def _complete(writer: RunWriter, plan: Plan, jobs: int, progress: Progress | None) -> None:
    """Do what is left of a run, and finish its folder."""
    with continued_by("run", writer.path):
        if not writer.complete:  # it is where a run was killed while it cleaned up
            _compute(writer, plan, jobs, Tee(progress or Silent(), writer))
        shutil.rmtree(writer.path / WORK, ignore_errors=True)
        writer.finish()


def _compute(writer: RunWriter, plan: Plan, jobs: int, told: Progress) -> None:
    ready = get_ready(plan, writer, told, jobs)
    results = serve_arms(ready, (ready.clock.budget_s,), writer.path, told, jobs)
    told.stage("market", 0, 1)
    cell = Judge(ready, results).cell(0)
    told.stage("market", 1, 1)
    interrupts.check()
    writer.update_manifest(arm_notes={result.name: result.notes for result in results})
    for name, columns in cell.tables.items():
        writer.write_table(name, columns)
    writer.write_scorecard(scorecard(ready, cell, writer.path.name, _ms(ready.clock.budget_s)))


class Tee:
    """Progress to the caller and into the folder's manifest."""

    def __init__(self, progress: Progress, writer: FolderWriter) -> None:
        self._progress, self._writer = progress, writer

    def stage(self, name: str, done: int, total: int) -> None:
        """See `Progress`."""
        self._progress.stage(name, done, total)
        self._writer.stage(name, done, total)


def get_ready(plan: Plan, writer: FolderWriter, told: Progress, jobs: int) -> Ready:
    """Build the world, train the models and size the timing plane."""
    work = writer.path / WORK
    work.mkdir(exist_ok=True)
    write_text(work / CONFIG, to_toml(plan.config))  # to tell later what was edited
    told.stage("world", 0, 1)
    _ = plan.prepared
    told.stage("world", 1, 1)
    interrupts.check()
    trained = train_models(plan, writer.path / "models", jobs=jobs, progress=told, work=work / "training")
    profile = plan.profile or _calibration(plan, trained, work, told)
    clock = make_clock(plan, profile)
    writer.update_manifest(
        profile_machine=machine_in_words(profile),
        time_compression=clock.compression,
        budget_ms=_ms(clock.budget_s),
        unloaded_p95_ms=clock.unloaded_p95_s * 1000.0,
        capacity_rps=clock.capacity_rps,
        models={
            spec.key: {**model.metrics, "path": str(model.path.relative_to(writer.path))}
            for spec, model in trained.items()
        },
    )
    return Ready(plan, trained, profile, clock)


def _calibration(
    plan: Plan, trained: Mapping[ModelSpec, TrainedModel], work: Path, told: Progress
) -> ServiceProfile:
    """What a live run sizes itself and predicts by: what this machine did when the run began."""
    models = sorted(model.digest for model in trained.values())
    inputs = inputs_of(arms=plan.arms, models=models, data=plan.prepared.digest, device=plan.device)

    def measure() -> ServiceProfile:
        interrupts.check()
        return calibrate(plan, trained, work / "calibrating", told)

    path = work / "calibration"
    return kept(
        path, inputs, measure, lambda made: (to_json(made), {}), lambda meta, _: from_json(meta, str(path))
    )


def serve_arms(
    ready: Ready, budgets_s: tuple[float | None, ...], folder: Path, told: Progress, jobs: int
) -> list[ArmResult]:
    """Serve the trace with every arm under every budget, and score what that needs."""
    plan = ready.plan
    tasks = [
        ArmTask(
            plan, arm, ready.trained, ready.clock, ready.profile, budgets_s, folder / WORK / "arms" / arm.name
        )
        for arm in plan.arms
    ]
    # Measured service times must not share the machine with another arm's.
    interrupts.check()
    at_once = 1 if plan.config.experiment.service_times == "live" else jobs
    return run_tasks(serve_arm, tasks, at_once, told, "serve")


def manifest(plan: Plan) -> dict[str, Any]:
    """What a folder's manifest says before anything ran."""
    config, made_of = plan.config, plan.world.made_of
    arms = [
        {
            "name": arm.name,
            "role": arm.role,
            "store": arm.serving.store,
            "model": arm.settings.model,
            "history": arm.settings.history,
        }
        for arm in plan.arms
    ]
    log = made_of.manifest if isinstance(made_of, LogSource) else None
    return {
        "name": config.experiment.name,
        "seed": config.seed,
        "versions": versions(),
        "hardware": hardware(plan.device),
        "commit": commit(),
        "service_times": config.experiment.service_times,
        "profile_machine": None if plan.profile is None else machine_in_words(plan.profile),
        "budget_ms": None,
        "arms": arms,
        "world": world_notes(config, plan.world),
        "inputs": fingerprint(config, plan.device, log),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000.0
