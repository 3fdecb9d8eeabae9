"""What if a setting were another? One experiment over a grid of changes of its file.

Cells differ by what an axis changes and share the rest: a world is built once, a model trained once, a score
computed once, whatever the number of cells. Start at `run_sweep`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from simulator.analysis.columns import Table
from simulator.analysis.scorecard import scorecard_of
from simulator.arms.cell import Cell
from simulator.arms.clock import Clock, make_clock
from simulator.arms.outlook import refuse
from simulator.arms.plan import Plan, make_plan
from simulator.arms.serve import ArmResult
from simulator.config.load import ExperimentConfig, changed, value_of
from simulator.execution import cluster, interrupts
from simulator.execution.checkpoints import inputs_of
from simulator.execution.parallel import Share, start_importing
from simulator.execution.progress import Progress
from simulator.experiment.carry import RUNS, Job, begin, resume
from simulator.experiment.cells import served_cells
from simulator.experiment.judge import judge, sample
from simulator.inputs.shared import share
from simulator.results.answers.build import answers_of
from simulator.results.answers.terms import terms_of
from simulator.results.answers.text import in_short
from simulator.results.axes import BUDGET, Axis, SweepError, as_json, axes_of, axes_over, cells_of
from simulator.results.bottleneck import metrics
from simulator.results.read import read_sweep
from simulator.results.run_folder import SweepWriter
from simulator.results.schemas import sweep_schema
from simulator.results.scorecard import effects
from simulator.serving.capacity import budget_grid

Card = tuple[dict[str, Any], Table | None]  # of a cell: its scorecard, and its table `paired`


def run_sweep(
    config: ExperimentConfig,
    axes: Sequence[Axis] = (),
    out: Path | None = None,
    *,
    cells: Sequence[Mapping[str, Any]] = (),
    one_model: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Run an experiment in every cell of a grid, or of a list, and write a sweep folder.

    Args:
        config, axes, out, cells, one_model, jobs, progress: as in `simulator.api.sweep`.

    Returns:
        The sweep folder.

    Raises:
        SweepError: the axes do not fit, the experiment's service times are live, or one model is asked for
            and no history varies.
        ConfigError: a cell's values cannot be used.
        ValueError, ResultsError: as `simulator.experiment.run.run_experiment`.
    """
    if axes and cells:
        raise SweepError("Found axes and cells, expected one of them. List the cells, or give the axes.")
    listed = [dict(cell) for cell in cells]
    asked = axes_over(listed) if listed else axes
    axes = [replace(axis, own=value_of(config, axis.key)) for axis in asked]
    config = _with_one_model(config, axes) if one_model else config
    changes = listed or (cells_of(axes) if axes else [{}])
    # Before anything is written: what would end a cell an hour from now. A budget ends none.
    for change in {repr({**change, BUDGET: None}): change for change in changes}.values():
        _check_cell(changed(config, change, "axis"))
    start_importing(jobs, len(changes) * len(config.arms))
    plan = make_plan(config)
    plans = _plans(plan, changes)
    out = out or RUNS / f"{config.experiment.name}-sweep"
    notes = {"axes": as_json(axes), "listed": listed or None}
    return begin(SweepWriter, out, plan, _compute, jobs, progress, plans, **notes)


def _with_one_model(config: ExperimentConfig, axes: Sequence[Axis]) -> ExperimentConfig:
    """The experiment with models that learn, from the longest history of its axis, to read each of them."""
    changes: dict[str, Any] = {}
    for axis in axes:
        table, _, key = axis.key.rpartition(".")
        if table.startswith("arms.") and key == "history" and axis.numeric:
            training = config.arms[table.partition(".")[2]].training
            longest = max([*axis.values, axis.own, training.history or 1])
            shares = {*training.lengths, *(value / longest for value in axis.values)}
            changes[f"{table}.training.history"] = longest
            changes[f"{table}.training.lengths"] = sorted(shares, reverse=True)
    if not changes:
        raise SweepError(
            f"Found the axes {[axis.key for axis in axes]}, expected an arm's history among them, for which "
            "one model is to be trained. Add --over arms.NAME.history=A,B, or leave --one-model out."
        )
    return changed(config, changes, "one model")


def _check_cell(config: ExperimentConfig) -> None:
    if config.experiment.service_times == "live":
        raise SweepError(
            'Found service_times = "live", expected "profile": a sweep serves the trace many times from one '
            "measurement. Make one with `laser-ab profile` and set experiment.profile to it."
        )
    refuse(config, budgeted=False)


def resume_sweep(folder: Path, *, jobs: int = 1, progress: Progress | None = None) -> Path:
    """Bring an interrupted or failed sweep to its end, in its own folder; a finished one is left as it is.

    Cells that were written are not computed again; `sweep.parquet` is that of a sweep that was never
    interrupted, byte for byte.

    Args:
        folder: the sweep folder.
        jobs, progress: as in `run_sweep`.

    Raises:
        ResumeError: it is running, or its inputs are not what it began with.
        ValueError, ResultsError: as `run_sweep`.
    """
    return resume(SweepWriter, read_sweep(folder), _compute, jobs, progress)


def _compute(job: Job[SweepWriter]) -> None:
    writer, progress = job.writer, job.progress
    own = _own_clock(job)
    axes = [_with_own_budget(axis, own) for axis in axes_of(writer.manifest)] or [_budget_axis(own)]
    writer.update_manifest(axes=as_json(axes))
    changes = writer.manifest.get("listed") or cells_of(axes)
    plans = _plans(job.plan, changes)
    models = _model_folders(plans, writer.path / "models")
    left = [index for index in range(len(plans)) if not writer.has_cell(index)]
    done = len(plans) - len(left)
    # World by world, so that each is built once, whichever axis it lies on.
    worlds = list(dict.fromkeys(plan.world for plan in plans))
    left.sort(key=lambda index: worlds.index(plans[index].world))
    for _, group in groupby(left, key=lambda index: plans[index].world):
        indices = list(group)
        served = served_cells([plans[index] for index in indices], job, models, own)
        names = [f"{writer.path.name}/cells/{index:03d}" for index in indices]
        judged = [
            _Judged(cell, results, name, job.jobs, job.work)
            for name, (cell, results) in zip(names, served, strict=True)
        ]
        progress.stage("cells", done, len(plans))
        sharing = partial(share, plans[indices[0]].world, job.work)
        for number, (card, paired) in _cards(judged, sharing):
            writer.write_cell(indices[number], card, paired)
            done += 1
            progress.stage("cells", done, len(plans))
    progress.stage("cells", len(plans), len(plans))
    rows: list[dict[str, Any]] = []
    for index, change in enumerate(changes):
        place = {"cell": index, **{axis.key: axis.column(change[axis.key]) for axis in axes}}
        # From the file, so that a cell of an earlier process and one of this give the same rows.
        rows += [{**place, **row} for row in cell_rows(writer.cell(index))]
    writer.write_table("sweep", {name: [row[name] for row in rows] for name in rows[0]}, sweep_schema(axes))
    written = read_sweep(writer.path)
    answer = in_short(answers_of(written, terms_of(written)), axes)
    writer.update_manifest(answer=answer)  # a list of sweeps reads no cell


@dataclass(frozen=True)
class _Judged:
    """A cell that was served and is to be judged, under a name, on so many threads."""

    cell: Cell
    results: Sequence[ArmResult]
    name: str
    jobs: int
    work: Path

    def card(self) -> Card:
        """The cell's scorecard, and its table `paired`."""
        outcome = judge(self.cell, self.results, self.jobs, self.work)
        found = sample(self.cell, outcome, self.name)
        return scorecard_of(found), found.paired()


def _cards(cells: Sequence[_Judged], sharing: Share) -> Iterator[tuple[int, Card]]:
    """Each cell's place and results, as they come: here one after the other, on a cluster side by side."""
    if cluster.chosen():
        yield from cluster.each_done(_Judged.card, cells, sharing())
        return
    for place, cell in enumerate(cells):
        interrupts.check()
        yield place, cell.card()


def _plans(plan: Plan, changes: Sequence[Mapping[str, Any]]) -> list[Plan]:
    """Each cell's experiment, as a change of the file."""
    return [make_plan(changed(plan.config, change, "axis"), like=plan) for change in changes]


def _budget_axis(clock: Clock) -> Axis:
    """The latency budgets of a sweep without axes: a grid about the unloaded P95, and the file's own."""
    grid_ms = {float(budget) for budget in budget_grid(clock.unloaded_p95_s) * 1000.0}
    own_ms = _budget_ms(clock)
    return Axis(BUDGET, tuple(sorted(grid_ms if own_ms is None else grid_ms | {own_ms})), own_ms)


def _with_own_budget(axis: Axis, clock: Clock) -> Axis:
    """The axis with a number for the file's own budget where that is "auto"."""
    unknown = axis.key == BUDGET and axis.own == "auto"
    return replace(axis, own=_budget_ms(clock)) if unknown else axis


def _own_clock(job: Job[SweepWriter]) -> Clock:
    """The file's own: budget and traffic are settled by it for every cell."""
    assert job.plan.profile is not None  # not live
    job.progress.stage("world", 0, 1)
    return make_clock(job.plan, job.plan.profile)


def _budget_ms(clock: Clock) -> float | None:
    return None if clock.budget_s is None else clock.budget_s * 1000.0


def _model_folders(plans: Sequence[Plan], models: Path) -> Callable[[Plan], Path]:
    """Where a plan's checkpoints go: one folder, unless equal models learn from unequal worlds or seeds."""
    contexts = [_context(plan) for plan in plans]
    return lambda plan: models if len(set(contexts)) == 1 else models / _context(plan)[:8]


def _context(plan: Plan) -> str:
    return inputs_of(
        world=plan.world,
        seeds=(plan.config.training_seed, plan.config.seed),
        device=plan.device,
        t=plan.threads,
    )


def cell_rows(card: dict[str, Any]) -> list[dict[str, Any]]:
    """A cell's scorecard as rows of the sweep table, by arm and metric; a treatment's lifts among them.

    Where either arm has too few users, or too few of them an event, a lift is null and only its truth known.
    """
    rows = []
    shown = {(effect.arm, effect.metric): effect.enough for effect in effects(card)}
    for arm, own in card["arms"].items():
        found: dict[str, dict[str, Any]] = dict(own["values"])
        for name, served in metrics(own["serving"]).items():
            # Of the arm's whole timing plane: nothing is estimated, and the value is the truth.
            found[name] = {"value": served, "ci": None, "true_value": served, "unit": "fraction"}
        for name, entry in own["metrics"].items():
            value, ci = (entry["lift"], entry["ci"]) if shown[arm, name] else (None, None)
            lift = {"value": value, "ci": ci, "true_value": entry["true_lift"]}
            found[f"{name}_lift"] = {**lift, "unit": "fraction"}
        for name, entry in sorted(found.items()):
            low, high = entry["ci"] or (None, None)
            row = {"arm": arm, "metric": name, "value": entry["value"]}
            row |= {"ci_low": low, "ci_high": high, "true_value": entry["true_value"], "unit": entry["unit"]}
            rows.append(row)
    return rows
