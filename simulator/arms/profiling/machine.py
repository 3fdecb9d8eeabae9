"""Measuring this machine: a service-time profile of an experiment's stores, transport and models.

On the experiment's own world: real histories in a real store, read for another user each time. All stores and
models are measured over the whole time, one cell after another in ever new orders (`measure.py`); the cells
are then held against their neighbours (`fitness.py`), measured again where they disagree, and smoothed with a
note where they still do.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np

from laser.models import RankingModel, build_model
from laser.scoring.device import gpu_name
from laser.scoring.live import LiveScorer
from laser.scoring.summaries import SummaryScorer
from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.histories.replayed import ReplayedStore
from simulator.arms.live import LiveCalls
from simulator.arms.models import TrainedModel, live_scorers, model_config, snapshots
from simulator.arms.plan import Plan, make_plan
from simulator.arms.profiling.cells import Bench, Following, put_together
from simulator.arms.profiling.parts import check_same_cells, check_same_machine, joined
from simulator.arms.profiling.summary_cells import summary_cells
from simulator.arms.scores import replayed_store
from simulator.config.load import ExperimentConfig
from simulator.errors import SimulatorError
from simulator.execution.environment import commit, versions
from simulator.execution.progress import Progress, Silent
from simulator.serving.fitness import disagreements, smoothed
from simulator.serving.measure import Cell, measure, this_machine
from simulator.serving.profile import MIN_SAMPLES, Point, ServiceProfile, from_measured, save

SAMPLES = 400
_AGAIN = 2  # times that cells which disagree are measured anew
_WRITING_S = 5.0  # of a time limit, kept for checking and writing


@dataclass(frozen=True)
class Grid:
    """Which points to measure, and how often.

    Attributes:
        repeats: samples of each.
        candidates: per request.
        batches: of every model; None for the powers of two up to the arm's largest.
        histories: of every store and model that reads a history; None for the lengths of the ladders.
        models: kinds of models to measure; None for all of the arms.
        until_s: on time.perf_counter's clock, when all must be over: then there are fewer repeats.
    """

    repeats: int
    candidates: tuple[int, ...]
    batches: tuple[int, ...] | None = None
    histories: tuple[int, ...] | None = None
    models: tuple[str, ...] | None = None
    until_s: float = float("inf")


@dataclass
class Cells:
    """The cells of a plan, what each model scores at once, and what belongs to no time of measurement."""

    cells: list[Cell] = field(default_factory=list)
    helpers: list[Cell] = field(default_factory=list)  # points outside the grid, to put others together from
    beyond: dict[str, dict[Point, int]] = field(default_factory=dict)  # score/MODEL -> point -> at once


def make_profile(
    config: ExperimentConfig,
    out: Path,
    *,
    quick: bool = False,
    candidates: tuple[int, ...] | None = None,
    batches: tuple[int, ...] | None = None,
    histories: tuple[int, ...] | None = None,
    models: tuple[str, ...] | None = None,
    minutes: float = float("inf"),
    earlier: ServiceProfile | None = None,
    progress: Progress | None = None,
    estimated: Callable[[float], object] = lambda _: None,
) -> ServiceProfile:
    """Measure the arms of an experiment on this machine and write the profile.

    Args:
        config: whose stores, models and history lengths to measure, on its own world.
        out: the profile's file.
        quick: a quarter of the samples, the trace's number of candidates alone, nothing measured again.
        candidates: half, once and twice the trace's by default.
        batches, histories, models: see `Grid`.
        minutes: for all of it, about; then there are fewer samples, never fewer than MIN_SAMPLES.
        earlier: a part of this measurement that was done before: its samples come first.
        progress: notified after each round.
        estimated: told how many seconds it will take, before it begins in earnest.

    Raises:
        SimulatorError: the configuration cannot be measured: no user has a history that long.
        ProfileError: the earlier part is of another machine, other versions or other cells.
        ValueError: a part of it is not there, see `make_plan`.
    """
    begun_s = time.perf_counter()
    plan = make_plan(config, profiled=False)
    own = plan.prepared.requests.candidates.shape[1]
    around = (own,) if quick else (max(1, own // 2), own, 2 * own)
    samples = MIN_SAMPLES if quick else SAMPLES
    until_s = begun_s + 60.0 * minutes - _WRITING_S
    grid = Grid(samples, candidates or around, batches, histories, models, until_s)
    _check_models(plan, grid)
    if earlier is not None:
        check_same_machine(earlier, this_machine(gpu_name(plan.device)), versions())
    sizes = plan.prepared.world.sizes
    with tempfile.TemporaryDirectory(prefix="laser-ab-profile-", dir=_parent(out)) as folder:
        # With initial weights: as fast as trained ones, and as wrong as it gets.
        profile = _measure(
            plan,
            grid,
            lambda spec: build_model(model_config(sizes, spec), config.training_seed),
            Path(folder),
            progress or Silent(),
            estimated,
            again=0 if quick else _AGAIN,
            earlier=earlier,
        )
    profile = smoothed(profile if earlier is None else joined(earlier, profile))
    save(profile, out)
    return profile


def calibrate(
    plan: Plan, trained: Mapping[ModelSpec, TrainedModel], folder: Path, progress: Progress
) -> ServiceProfile:
    """The smallest profile of the arms on this machine: what live runs size themselves and predict by."""
    most = tuple(sorted({1, *(arm.serving.max_batch for arm in plan.arms)}))
    grid = Grid(MIN_SAMPLES, (plan.prepared.requests.candidates.shape[1],), most)
    return smoothed(_measure(plan, grid, lambda spec: trained[spec].open(), folder, progress))


def _parent(out: Path) -> Path:
    # On the disk the profile goes to: the store that is measured lives there for a while.
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


def _check_models(plan: Plan, grid: Grid) -> None:
    kinds = {spec.kind for arm in plan.arms for spec in map(arm.model_of, arm.scored_steps)}
    if unknown := sorted(set(grid.models or ()) - kinds):
        raise SimulatorError(
            f"No arm of this experiment has the model {unknown[0]!r}, expected one of {sorted(kinds)}. "
            "Add an arm, or leave the model out."
        )


def _measure(
    plan: Plan,
    grid: Grid,
    model: Callable[[ModelSpec], RankingModel],
    folder: Path,
    progress: Progress,
    estimated: Callable[[float], object] = lambda _: None,
    again: int = 0,
    earlier: ServiceProfile | None = None,
) -> ServiceProfile:
    with ExitStack() as stack:
        found = cells_of(plan, grid, model, folder, stack)
        if earlier is not None:
            check_same_cells(earlier, _points_of(found))

        def shown(done: int, rounds: int) -> None:
            progress.stage("profile", done, rounds)

        every = [*found.cells, *found.helpers]
        measure(every, grid.repeats, until_s=grid.until_s, estimated=estimated, round_done=shown)
        profile = profile_of(plan, found)
        for turn in range(1, again + 1):
            wrong = disagreements(profile)
            points = {(w.place, p) for w in wrong for p in (w.point, w.than) if p is not None}
            cells = [cell for cell in every if (cell.place, cell.point) in points]
            least_s = MIN_SAMPLES * sum(2.0 * float(np.mean(cell.wall_s)) for cell in cells)
            if not cells or time.perf_counter() + least_s > grid.until_s:
                break
            measure(cells, grid.repeats, again=turn, until_s=grid.until_s)
            profile = profile_of(plan, found)
    return profile


def _points_of(found: Cells) -> dict[str, list[Point]]:
    points: dict[str, list[Point]] = {}
    for cell in found.cells:
        points.setdefault(cell.place, []).append(cell.point)
    for place, beyond in found.beyond.items():
        points.setdefault(place, []).extend(beyond)
    return points


def profile_of(plan: Plan, found: Cells) -> ServiceProfile:
    """What the cells hold so far, with the points that were put together from others in its notes."""
    wall: dict[str, dict[Point, Sequence[float]]] = {}
    cpu: dict[str, dict[Point, tuple[float, float]]] = {}
    for cell in found.cells:
        wall.setdefault(cell.place, {})[cell.point] = cell.wall_s
        p50, p95 = (float(f"{q:.4g}") for q in np.quantile(cell.cpu_s, (0.5, 0.95)))
        cpu.setdefault(cell.place, {})[cell.point] = p50, p95
    notes = []
    for place, points in found.beyond.items():
        largest = dict(wall.get(place, {}))
        largest.update((cell.point, cell.wall_s) for cell in found.helpers if cell.place == place)
        for point, at_once in points.items():
            cells = cast(dict[tuple[int, int, int], Sequence[float]], largest)
            wall[place][point] = put_together(cells, cast(tuple[int, int, int], point), at_once)
        if points:
            notes.append(
                f"put together: {place} at {', '.join(map(str, sorted(points)))}, whose requests are not "
                "scored at once, from as many samples in a row of its largest batch"
            )
    return from_measured(
        this_machine(gpu_name(plan.device)),
        versions(),
        commit() or "",
        datetime.now(UTC).date().isoformat(),
        wall,
        cpu,
        notes,
    )


def cells_of(
    plan: Plan, grid: Grid, model: Callable[[ModelSpec], RankingModel], folder: Path, stack: ExitStack
) -> Cells:
    """Every store and every model once, whichever arms have them; stores stay open as long as the stack."""
    arms, found = plan.arms, Cells()
    # Every arm's lengths in every store: a store may serve another arm's ladder later.
    histories = grid.histories or sorted({h for arm in arms for h in _histories(arm)})
    stores: dict[str, tuple[Following, ReplayedStore]] = {}
    scored: set[str] = set()
    kept: set[str] = set()  # models whose summaries were measured
    for arm in arms:
        store, fresh_models = arm.serving.store, [key for key in _keys(arm, grid) if key not in scored]
        full = arm.serving.full.model or ""
        keeps = arm.settings.summary is not None and full in _keys(arm, grid) and full not in kept
        if store in stores and not fresh_models and not keeps:
            continue
        scorers = live_scorers(arm, snapshots(arm, model, plan.device), plan.threads)
        first = not stores
        if fresh_store := store not in stores:
            stores[store] = _open(plan, arm, folder / arm.name, stack)
        following, whole = stores[store]
        calls = LiveCalls(plan.prepared, whole, scorers)
        bench = Bench(plan.prepared, following, calls, [arm.scored_steps[0].model or ""])
        if fresh_store:
            found.cells += bench.store(store, histories)
        if first:
            found.cells += bench.transport(histories)
        for key in fresh_models:
            lengths = sorted({h for one in arms for h in _histories(one, key)})
            if grid.histories and lengths[-1] > 1:  # one that reads a history at all
                lengths = list(grid.histories)
            points = list(_points(lengths, grid, arm.serving.max_batch))
            _scoring(bench, key, points, scorers[key], found)
        scored.update(fresh_models)
        if keeps:  # the parts of a summary on their own, beside the model that makes one for each request
            kept.add(full)
            found.cells += _summary(bench, arm, grid, SummaryScorer(scorers[full].snapshot))
    return found


def _summary(bench: Bench, arm: Arm, grid: Grid, scorer: SummaryScorer) -> Iterator[Cell]:
    model = arm.serving.full.model or ""
    histories = grid.histories or sorted(_histories(arm, model))
    batches = grid.batches or _batches(arm.serving.max_batch)
    return summary_cells(bench, model, scorer, histories, grid.candidates, batches)


def _open(plan: Plan, arm: Arm, folder: Path, stack: ExitStack) -> tuple[Following, ReplayedStore]:
    """A store that follows the trace, for what is timed, and one loaded to its end, for what is not."""
    folder.mkdir(parents=True, exist_ok=True)
    last = len(plan.prepared.requests) - 1
    whole = stack.enter_context(replayed_store(plan.prepared, arm, folder / "whole", last))
    newest = stack.enter_context(ExitStack())

    def opened() -> LiveCalls:
        newest.close()
        place = Path(newest.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        return LiveCalls(
            plan.prepared, newest.enter_context(replayed_store(plan.prepared, arm, place / "store")), {}
        )

    return Following(plan.prepared.history_available, opened), whole


def _scoring(
    bench: Bench, key: str, points: list[tuple[int, int, int]], scorer: LiveScorer, found: Cells
) -> None:
    """Cells of what is scored at once; the rest is put together from those."""
    beyond = found.beyond.setdefault(f"score/{key}", {})
    helpers = set()
    for history, candidates, batch in points:
        at_once = scorer.at_once(history, candidates)
        if batch <= at_once:
            found.cells += bench.scoring(key, (history,), (candidates,), (batch,))
        else:
            beyond[history, candidates, batch] = at_once
            helpers.add((history, candidates, at_once))
    for history, candidates, batch in sorted(helpers - set(points)):
        found.helpers += bench.scoring(key, (history,), (candidates,), (batch,))


def _points(lengths: Sequence[int], grid: Grid, max_batch: int) -> Iterator[tuple[int, int, int]]:
    for history in lengths:
        for candidates in grid.candidates:
            for batch in grid.batches or _batches(max_batch):
                yield history, candidates, batch


def _keys(arm: Arm, grid: Grid) -> list[str]:
    """The arm's models that are to be measured, by their keys."""
    steps = [s for s in arm.scored_steps if grid.models is None or arm.model_of(s).kind in grid.models]
    return list(dict.fromkeys(step.model or "" for step in steps))


def _histories(arm: Arm, model: str | None = None) -> set[int]:
    """An arm's ladder lengths, of one model or of all, and an eighth of the shortest for short histories."""
    lengths = {step.history for step in arm.scored_steps if model in (None, step.model)}
    return lengths | {max(1, min(lengths) // 8)} if lengths else set()


def _batches(most: int) -> tuple[int, ...]:
    return tuple(sorted({most, *(2**i for i in range(most.bit_length()) if 2**i <= most)}))
