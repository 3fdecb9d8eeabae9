"""The arms' part of an experiment: their timing planes, stores and models, in worker processes.

Scores depend on neither clock nor budget, and are what takes long. So an arm is served in all cells that
need the same scores of it, and the union of the (request, ladder step) pairs they need is scored once. Start
at `serve_cells`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arms.arm import Arm, ModelSpec, needed_models
from simulator.arms.cell import Cell
from simulator.arms.clock import profile_times
from simulator.arms.kept import SentScores, received, sent
from simulator.arms.live import Told, serve_live
from simulator.arms.models import TrainedModel
from simulator.arms.scores import F4, score_inputs, score_needed, scores_made_of
from simulator.arms.summary_times import summary_notes
from simulator.execution import interrupts
from simulator.execution.checkpoints import inputs_of, kept
from simulator.execution.parallel import Share, Work, run_works
from simulator.execution.progress import Progress
from simulator.inputs.prepare import Prepared
from simulator.serving.pipeline import Served, serve
from simulator.serving.profile import to_json
from simulator.serving.service_times import ProfileServiceTimes

_READ_AHEAD = 50_000  # scores from which on processes read ahead


@dataclass(frozen=True)
class ArmResult:
    """What serving an arm in a cell gave.

    Attributes:
        name: the arm's.
        served: its timing plane.
        logits: of each ladder step with a model (R, C), NaN where not known; cells share them.
        notes: for the manifest: lookups outside the profile, the binding's share of live reads, the shapes in
            which each model scored.
    """

    name: str
    served: Served
    logits: Sequence[F4 | SentScores]
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    """Arms that need the same scores, each with its cell, and the folder for their checkpoints and store.

    `readers` are processes that nobody else uses meanwhile.
    """

    served: tuple[tuple[Cell, Arm], ...]
    folder: Path
    readers: int


def serve_cells(
    cells: Sequence[Cell], folder: Path, jobs: int, progress: Progress, share: Share | None = None
) -> list[list[ArmResult]]:
    """Serve the trace with every arm of every cell, and score what that needs.

    Args:
        cells: of one world.
        folder: for checkpoints, and for stores meanwhile.
        jobs: worker processes, in profile mode; live service times must not share the machine.
        progress: notified after each task, and while live service times are measured, counted in requests.
        share: how processes get their world; None: each makes its own.

    Returns:
        By cell, its arms' results in their order.

    Raises:
        Interrupted: that was asked for; what was scored is kept.
    """
    interrupts.check()
    models = [{spec: model.digest for spec, model in cell.trained.items()} for cell in cells]
    made = servings(cells, models, folder, jobs)
    if _live_times(cells):
        return made.results(_measured_arms([work.task for work in made.works], progress))
    return made.results(run_works(made.works, jobs, progress, share))


def _live_times(cells: Sequence[Cell]) -> bool:
    return any(cell.plan.config.experiment.service_times == "live" for cell in cells)


@dataclass(frozen=True)
class Servings:
    """The works by which cells are served, see `run_works`: what needs the same scores is one of them.

    Attributes:
        members: of each work, its arms: places of their cells, and their own in these.
    """

    works: list[Work]
    members: list[list[tuple[int, int]]]

    def results(self, done: Sequence[list[ArmResult]]) -> list[list[ArmResult]]:
        """By cell, its arms' results in their order, of what the works gave."""
        found: dict[int, dict[int, ArmResult]] = {}
        for members, results in zip(self.members, done, strict=True):
            for (cell, position), result in zip(members, results, strict=True):
                home = replace(result, served=result.served.mapped(), logits=received(result.logits))
                found.setdefault(cell, {})[position] = home
        return [[found[cell][position] for position in sorted(found[cell])] for cell in sorted(found)]


def servings(
    cells: Sequence[Cell],
    models: Sequence[Mapping[ModelSpec, str]],
    folder: Path,
    jobs: int,
    trained_by: Sequence[Mapping[ModelSpec, int]] | None = None,
) -> Servings:
    """What is to be done to serve cells; other arguments as in `serve_cells`.

    Args:
        models: by cell, digests of its models, or of what they are made from.
        trained_by: by cell, the works that give its models; None: the cells have them.
    """
    groups: dict[str, list[tuple[int, int]]] = {}
    for index, cell in enumerate(cells):
        for position, arm in enumerate(cell.plan.arms):
            made_of = scores_made_of(cell.plan, arm, models[index])
            # Measured service times are an arm's own.
            key = f"{index} {arm.name}" if _live_times(cells) else made_of
            groups.setdefault(key, []).append((index, position))
    spare = max(jobs - len(groups), 0) // max(len(groups), 1)
    works = []
    for members in groups.values():
        first = members[0][0]
        served = tuple((cells[index], cells[index].plan.arms[position]) for index, position in members)
        cell, arm = served[0]
        own = folder / f"{arm.name}-{scores_made_of(cell.plan, arm, models[first])[:8]}"
        after = () if trained_by is None else {trained_by[first][spec] for spec in needed_models([arm])}
        works.append(Work(_serve, _Task(served, own, spare), "serve", tuple(sorted(after))))
    return Servings(works, list(groups.values()))


def _serve(task: _Task, *trained: TrainedModel) -> list[ArmResult]:
    """Serve arms; `trained` are the models that their cells do not have yet."""
    fresh = {model.spec: model for model in trained}
    served = tuple((replace(cell, trained={**cell.trained, **fresh}), arm) for cell, arm in task.served)
    task = replace(task, served=served)
    _ = served[0][0].plan.prepared  # the longest wait before the first checkpoint
    interrupts.check()
    with _store_folder(task.folder) as store:
        return _from_profile(task, store)


def _measured_arms(tasks: Sequence[_Task], progress: Progress) -> list[list[ArmResult]]:
    """Serve arms with live service times: one after the other, for they must not share the machine."""
    done, requests = [], len(tasks[0].served[0][0].plan.prepared.requests)
    for place, task in enumerate(tasks):

        def told(request: int, before: int = place * requests) -> None:
            progress.stage("serve", before + request, len(tasks) * requests)

        ((cell, arm),) = task.served
        told(0)
        interrupts.check()
        with _store_folder(task.folder) as store:
            done.append([_live(cell, arm, task.folder, store, told)])
    told(requests)
    return done


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


def _from_profile(task: _Task, store: Path) -> list[ArmResult]:
    cell, arm = task.served[0]
    prepared = cell.plan.prepared
    times: dict[object, tuple[Served, dict[str, int]]] = {}
    found = []
    for one, its_arm in task.served:
        interrupts.check()
        clock = clock_of(one, its_arm)
        if clock not in times:
            times[clock] = timed(one, its_arm)
        found.append(times[clock])
    needed = needed_scores(prepared, task.served, [served for served, _ in found])
    readers = task.readers if _worth_reading_ahead(cell, needed) else 0
    logits, scoring = score_needed(
        cell.plan, arm, needed, cell.trained, store / "profile", task.folder, readers
    )
    home = sent(logits, task.folder)
    return [
        ArmResult(
            its_arm.name,
            served,
            home,
            {
                "outside_profile": outside,
                "scoring": scoring,
                **summary_notes(one.plan, its_arm, one.profile),
            },
        )
        for (one, its_arm), (served, outside) in zip(task.served, found, strict=True)
    ]


def _worth_reading_ahead(cell: Cell, needed: NDArray[np.bool_]) -> bool:
    """A CPU scores more slowly than one process reads; and to start another takes seconds."""
    return cell.plan.device != "cpu" and int(needed.sum()) >= _READ_AHEAD


def clock_of(cell: Cell, arm: Arm) -> tuple[object, ...]:
    """What an arm's timing plane depends on in one world; a reserve and a level, say, have no part in it."""
    return (
        arm.serving,
        arm.settings.summary,
        cell.plan.config.traffic.arrivals,
        cell.plan.config.experiment.extrapolate,
        cell.plan.config.experiment.engine,
        cell.clock.compression,
        cell.clock.budget_s,
        id(cell.profile),
    )


def timed(cell: Cell, arm: Arm, times: ProfileServiceTimes | None = None) -> tuple[Served, dict[str, int]]:
    """An arm's timing plane, and how often it asked for what the profile has not measured, by stage.

    Args:
        cell: the experiment.
        arm: one of its arms.
        times: the arm's drawn service times, where they are at hand from another cell of its world.
    """
    times = profile_times(cell.plan, arm, cell.profile) if times is None else times
    prepared, clock, before = cell.plan.prepared, cell.clock, dict(times.clamped)
    engine = cell.plan.config.experiment.engine
    served = serve(
        clock.sim_arrival_s, prepared.history_available, arm.serving, times, clock.budget_s, engine
    )
    prepared.let_go()
    return served, {stage: count - before[stage] for stage, count in times.clamped.items()}


def _live(cell: Cell, arm: Arm, folder: Path, store: Path, told: Told) -> ArmResult:
    """Serve an arm, or take what an earlier process measured; never half of each.

    Measured times cannot be replayed, so an arm that was interrupted is served from its beginning.
    """
    inputs = inputs_of(
        arm=arm,
        clock=(cell.plan.config.traffic.arrivals, cell.clock.compression, cell.clock.budget_s),
        calibration=to_json(cell.profile),
        scores=score_inputs(cell.plan, arm, cell.trained),
    )
    return kept(folder / "live", inputs, partial(_measured, cell, arm, store, told), _packed, _unpacked)


def _measured(cell: Cell, arm: Arm, store: Path, told: Told) -> ArmResult:
    served, logits, notes = serve_live(cell, arm, store / "live", told)
    # What no live call computed: the control's full-history scores of degraded pre-period requests.
    missing = needed_scores(cell.plan.prepared, [(cell, arm)], [served]) & np.isnan(logits[:, :, 0]).T
    if missing.any():
        rest, notes["scoring"] = score_needed(cell.plan, arm, missing, cell.trained, store / "rest", None)
        logits = np.where(np.isnan(logits), np.stack(rest), logits)
    return ArmResult(arm.name, served, list(logits), notes)


def _packed(result: ArmResult) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    logits = np.stack(received(result.logits))
    return {"name": result.name, "notes": result.notes}, {"logits": logits, **vars(result.served)}


def _unpacked(meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> ArmResult:
    logits = arrays.pop("logits")
    return ArmResult(meta["name"], Served(**arrays), list(logits), meta["notes"])


def needed_scores(
    prepared: Prepared, arms: Sequence[tuple[Cell, Arm]], served: Sequence[Served]
) -> NDArray[np.bool_]:
    """(R, K): which requests were answered in time by which step with a model, in any of the servings.

    A control also needs its full-history scores of the pre-period: advertisers set budgets by them.
    """
    steps = len(arms[0][1].scored_steps)
    needed = np.zeros((len(prepared.requests), steps), np.bool_)
    for one in served:
        rows = np.flatnonzero((one.step < steps) & ~one.missed)
        needed[rows, one.step[rows]] = True
        one.let_go()
    if any(arm.role == "control" for _, arm in arms):
        needed[~prepared.in_experiment, 0] = True
    return needed
