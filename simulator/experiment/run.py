"""One experiment, from its configuration to a run folder with a verdict. Start at `run_experiment`.

world -> models -> each arm: timing plane, store, scores -> market worlds -> tables -> scorecard
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.aggregate import aggregate_users
from simulator.analysis.scorecard import Question, build_scorecard
from simulator.experiment import interrupts
from simulator.experiment.arms import ArmResult, ArmTask, calibrated, serve_arm
from simulator.experiment.assignment import assign
from simulator.experiment.checkpoints import read, write
from simulator.experiment.config import ExperimentConfig, to_toml
from simulator.experiment.environment import commit, hardware, versions
from simulator.experiment.inputs import CONFIG, fingerprint
from simulator.experiment.outcomes import Market, arm_pages, mix
from simulator.experiment.parallel import run_tasks
from simulator.experiment.prepare import Prepared, prepare
from simulator.experiment.profiling import calibrate
from simulator.experiment.progress import Progress, Silent
from simulator.experiment.readiness import check_ready
from simulator.experiment.remarks import remarks
from simulator.experiment.resume import WORK, check_unchanged, continued_by
from simulator.experiment.tables import (
    Columns,
    impressions_table,
    ledger_table,
    path_totals,
    served_columns,
    truth_table,
)
from simulator.experiment.timing import Clock, make_clock
from simulator.experiment.training import (
    ModelSpec,
    TrainedModel,
    arm_ladder,
    arm_specs,
    train_models,
)
from simulator.experiment.worlds import world_notes
from simulator.market.auction import Auctions
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


@dataclass(frozen=True)
class Plan:
    """What every budget of an experiment shares."""

    prepared: Prepared
    trained: dict[ModelSpec, TrainedModel]
    profile: ServiceProfile
    clock: Clock

    @property
    def config(self) -> ExperimentConfig:
        """The experiment's configuration."""
        return self.prepared.config


@dataclass(frozen=True)
class Cell:
    """An experiment's outcome under one budget: its tables, and the truth's totals on each path of clicks."""

    tables: dict[str, Columns]
    paths: dict[str, Columns]


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
        profile_machine=_machine(profile),
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


class Judge:
    """Runs the market's worlds for every serving of the arms; what the servings share is made once.

    Args:
        plan: the experiment.
        results: every arm's, in the arms' order.
    """

    def __init__(self, plan: Plan, results: Mapping[str, ArmResult]) -> None:
        self._plan, self._results = plan, results
        self._names = plan.config.arm_names
        self._pctr = {name: calibrated(plan.prepared, results[name], plan.trained) for name in self._names}
        self._market = Market(plan.prepared, self._pctr[self._names[0]][0])
        self._arm_of = assigned_arms(plan.prepared)

    def cell(self, index: int) -> Cell:
        """The outcome under the index-th budget that the arms were served with."""
        prepared, market, names = self._plan.prepared, self._market, self._names
        served = {name: self._results[name].served[index] for name in names}
        pages = {name: arm_pages(prepared, served[name], self._pctr[name]) for name in names}
        mixed = mix(self._arm_of, [pages[name] for name in names])
        experiment = np.flatnonzero(prepared.in_experiment)
        ab = market.experiment(mixed)
        worlds = {name: market.expected(pages[name]) for name in names}
        parts: list[tuple[NDArray[Any], Auctions]] = [(experiment, ab)]
        if len(experiment) < len(prepared.requests):
            before = np.flatnonzero(~prepared.in_experiment)
            parts.insert(0, (before, market.pre_period(pages[names[0]])))
        ladders = {name: arm_ladder(self._plan.config, name) for name in names}
        ledger = {"ab": ab} | {f"all:{name}": paths[0] for name, paths in worlds.items()}
        tables = {
            "served": served_columns(prepared, {n: (ladders[n], served[n]) for n in names}, self._arm_of),
            "impressions": impressions_table(prepared, parts, self._arm_of, names),
            "truth": truth_table(prepared, worlds),
            "ledger": ledger_table(ledger, market.budgets, market.days),
        }
        tables["users"] = aggregate_users(tables["served"], tables["impressions"], names)
        return Cell(tables, path_totals(worlds))


def assigned_arms(prepared: Prepared) -> NDArray[np.int64]:
    """(R,) index of the arm each request belongs to; the pre-period is the control's (index 0)."""
    config = prepared.config
    split = {name: config.experiment.split[name] for name in config.arm_names}
    arm_of = assign(prepared.requests.user_id, config.experiment.name, split, config.seed)
    return np.where(prepared.in_experiment, arm_of, 0)


def scorecard(plan: Plan, cell: Cell, name: str, extra: dict[str, Any]) -> dict[str, Any]:
    """The verdict on one cell."""
    config = plan.config
    question = Question(
        run=name,
        seed=config.seed,
        service_times=config.experiment.service_times,
        split={arm: config.experiment.split[arm] for arm in config.arm_names},
        control=config.experiment.control,
        primary=config.experiment.primary,
        level=config.experiment.level,
        extra=extra,
    )
    tables = cell.tables
    return build_scorecard(question, tables["users"], tables["served"], tables["truth"], cell.paths)


def scorecard_extra(plan: Plan, results: Mapping[str, ArmResult]) -> dict[str, Any]:
    """Top-level scorecard entries beside the statistics."""
    models = {}
    for name in plan.config.arm_names:
        spec = arm_specs(plan.config, name)[0]
        models[name] = {"model": spec.key, **plan.trained[spec].metrics}
    # Lookups beyond what was measured got the edge of the grid: the reader should know.
    outside = {
        name: sum(result.notes.get("outside_profile", {}).values()) for name, result in results.items()
    }
    return {
        "profile_machine": _machine(plan.profile),
        "models": models,
        "outside_profile": outside,
        "notes": remarks(plan.prepared),
    }


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
        "profile_machine": None if profile is None else _machine(profile),
        "budget_ms": None,
        "arms": arms,
        "world": world_notes(config),
        "inputs": fingerprint(config),
    }


def _machine(profile: ServiceProfile) -> str:
    """Whose service times these are, in words."""
    machine = profile.machine
    gpu = machine.gpu or "no GPU"
    return f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {gpu}; measured {profile.date}"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000.0
