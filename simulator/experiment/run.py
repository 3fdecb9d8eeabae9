"""One experiment, from its configuration to a run folder with a verdict. Start at `run_experiment`.

world -> models -> each arm: timing plane, store, scores -> market worlds -> tables -> scorecard
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from simulator.arms.clock import make_clock
from simulator.arms.profiling import calibrate
from simulator.arms.readiness import check_ready
from simulator.arms.serve import ArmResult, ArmTask, serve_arm
from simulator.arms.training import ModelSpec, TrainedModel, train_models
from simulator.config.load import ExperimentConfig, to_toml
from simulator.execution import interrupts
from simulator.execution.checkpoints import read, write
from simulator.execution.environment import commit, hardware, versions
from simulator.execution.fingerprint import CONFIG, fingerprint
from simulator.execution.parallel import run_tasks
from simulator.execution.progress import Progress, Silent
from simulator.execution.resume import WORK, check_unchanged, continued_by
from simulator.experiment.judge import Judge, Plan, machine_in_words, scorecard, scorecard_extra
from simulator.inputs.prepare import Prepared, prepare
from simulator.inputs.worlds import world_notes
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
    profile = check_ready(config)
    folder = free_folder(out or RUNS / config.experiment.name)
    with RunWriter.create(folder, manifest(config, profile), {CONFIG: to_toml(config)}) as writer:
        _complete(writer, config, profile, jobs, progress)
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
    config = check_unchanged(found)
    profile = check_ready(config)
    with RunWriter.reopen(folder) as writer:
        _complete(writer, config, profile, jobs, progress)
    return folder


def _complete(
    writer: RunWriter,
    config: ExperimentConfig,
    profile: ServiceProfile | None,
    jobs: int,
    progress: Progress | None,
) -> None:
    """Do what is left of a run, and finish its folder."""
    with continued_by("run", writer.path):
        if not writer.complete:  # it is where a run was killed while it cleaned up
            _compute(writer, config, profile, jobs, progress)
        shutil.rmtree(writer.path / WORK, ignore_errors=True)
        writer.finish()


def _compute(
    writer: RunWriter,
    config: ExperimentConfig,
    profile: ServiceProfile | None,
    jobs: int,
    progress: Progress | None,
) -> None:
    told = Tee(progress or Silent(), writer)
    plan = make_plan(config, profile, writer, told, jobs)
    results = serve_arms(plan, (plan.clock.budget_s,), writer.path, told, jobs)
    told.stage("market", 0, 1)
    cell = Judge(plan, results).cell(0)
    told.stage("market", 1, 1)
    interrupts.check()
    writer.update_manifest(arm_notes={name: r.notes for name, r in results.items()})
    for name, columns in cell.tables.items():
        writer.write_table(name, columns)
    extra = {"budget_ms": _ms(plan.clock.budget_s), **scorecard_extra(plan, results)}
    writer.write_scorecard(scorecard(plan, cell, writer.path.name, extra))


class Tee:
    """Progress to the caller and into the folder's manifest."""

    def __init__(self, progress: Progress, writer: FolderWriter) -> None:
        self._progress, self._writer = progress, writer

    def stage(self, name: str, done: int, total: int) -> None:
        """See `Progress`."""
        self._progress.stage(name, done, total)
        self._writer.stage(name, done, total)


def make_plan(
    config: ExperimentConfig, profile: ServiceProfile | None, writer: FolderWriter, told: Progress, jobs: int
) -> Plan:
    """Build the world, train the models and size the timing plane."""
    work = writer.path / WORK
    work.mkdir(exist_ok=True)
    write_text(work / CONFIG, to_toml(config))  # to tell later what was edited
    told.stage("world", 0, 1)
    prepared = prepare(config)
    told.stage("world", 1, 1)
    interrupts.check()
    trained = train_models(config, writer.path / "models", jobs=jobs, progress=told, work=work / "training")
    if profile is None:
        profile = _calibration(prepared, trained, work, told)
    clock = make_clock(prepared, profile)
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
    return Plan(prepared, trained, profile, clock)


def _calibration(
    prepared: Prepared, trained: dict[ModelSpec, TrainedModel], work: Path, told: Progress
) -> ServiceProfile:
    """What a live run sizes itself and predicts by: what this machine did when the run began."""
    found = read(work / "calibration")
    if found is None:
        interrupts.check()
        measured = calibrate(prepared, trained, work / "calibrating", told)
        write(work / "calibration", to_json(measured), {})
        return measured
    return from_json(found[0], str(work / "calibration"))


def serve_arms(
    plan: Plan, budgets_s: tuple[float | None, ...], folder: Path, told: Progress, jobs: int
) -> dict[str, ArmResult]:
    """Serve the trace with every arm under every budget, and score what that needs."""
    config = plan.config
    tasks = [
        ArmTask(
            to_toml(config),
            name,
            plan.trained,
            plan.clock,
            plan.profile,
            budgets_s,
            folder / WORK / "arms" / name,
        )
        for name in config.arm_names
    ]
    # Measured service times must not share the machine with another arm's.
    interrupts.check()
    at_once = 1 if config.experiment.service_times == "live" else jobs
    results = run_tasks(serve_arm, tasks, at_once, told, "serve")
    return {result.name: result for result in results}


def manifest(config: ExperimentConfig, profile: ServiceProfile | None) -> dict[str, Any]:
    """What a folder's manifest says before anything ran."""
    arms = [
        {
            "name": name,
            "role": "control" if name == config.experiment.control else "treatment",
            "store": config.arms[name].store_key,
            "model": config.arms[name].model,
            "history": config.arms[name].history,
        }
        for name in config.arm_names
    ]
    return {
        "name": config.experiment.name,
        "seed": config.seed,
        "versions": versions(),
        "hardware": hardware(config.experiment.device),
        "commit": commit(),
        "service_times": config.experiment.service_times,
        "profile_machine": None if profile is None else machine_in_words(profile),
        "budget_ms": None,
        "arms": arms,
        "world": world_notes(config),
        "inputs": fingerprint(config),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000.0
