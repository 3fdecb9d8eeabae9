"""Measuring this machine: a service-time profile of an experiment's stores, transport and models.

The calls measured are the ones that live service times make (`live.py`), on the experiment's own
world: real histories in a real store, read for another user each time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from laser.models import RankingModel, build_model
from laser.scoring.device import gpu_name
from seqvault.store import HistoryBatch
from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.live import LiveCalls
from simulator.arms.models import TrainedModel, live_scorers, model_config, snapshots
from simulator.arms.plan import Plan, make_plan
from simulator.arms.scores import replayed_store
from simulator.config.load import ExperimentConfig
from simulator.errors import SimulatorError
from simulator.execution.environment import commit, versions
from simulator.execution.progress import Progress, Silent
from simulator.inputs.prepare import Prepared
from simulator.serving.measure import measure_scoring, measure_store, measure_transport, this_machine
from simulator.serving.profile import MIN_SAMPLES, Samples, ServiceProfile, save

_USERS = 512  # different users read at each point
_BATCHES = 32  # different batches scored at each point


@dataclass(frozen=True)
class Grid:
    """Which points to measure, and how often."""

    repeats: int
    candidates: tuple[int, ...]
    all_batches: bool


def make_profile(
    config: ExperimentConfig, out: Path, *, quick: bool = False, progress: Progress | None = None
) -> Path:
    """Measure the arms of an experiment on this machine and write the profile.

    Args:
        config: whose stores, models and history lengths to measure, on its own world.
        out: the profile's file.
        quick: half the samples and no other numbers of candidates than the trace's.
        progress: notified after each stage.

    Raises:
        SimulatorError: the configuration cannot be measured: no user has a history that long.
        ValueError: a part of it is not there, see `make_plan`.
    """
    plan = make_plan(config, profiled=False)
    sizes, candidates = plan.prepared.world.sizes, plan.prepared.requests.candidates.shape[1]
    around = (candidates,) if quick else (max(1, candidates // 2), candidates, 2 * candidates)
    grid = Grid(MIN_SAMPLES if quick else 2 * MIN_SAMPLES, around, True)
    with tempfile.TemporaryDirectory(prefix="laser-ab-profile-", dir=_parent(out)) as folder:
        # With initial weights: as fast as trained ones, and as wrong as it gets.
        profile = _measure(
            plan,
            grid,
            lambda spec: build_model(model_config(sizes, spec), config.training_seed),
            Path(folder),
            progress or Silent(),
        )
    save(profile, out)
    return out


def calibrate(
    plan: Plan, trained: Mapping[ModelSpec, TrainedModel], folder: Path, progress: Progress
) -> ServiceProfile:
    """The smallest profile of the arms on this machine: what live runs size themselves and predict by."""
    grid = Grid(MIN_SAMPLES, (plan.prepared.requests.candidates.shape[1],), False)
    return _measure(plan, grid, lambda spec: trained[spec].open(), folder, progress)


def _parent(out: Path) -> Path:
    # On the disk the profile goes to: the store that is measured lives there for a while.
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


def _measure(
    plan: Plan, grid: Grid, model: Callable[[ModelSpec], RankingModel], folder: Path, progress: Progress
) -> ServiceProfile:
    prepared, arms = plan.prepared, plan.arms
    store: dict[str, dict[int, Samples]] = {}
    transport: dict[int, Samples] = {}
    score: dict[str, dict[tuple[int, int, int], Samples]] = {}
    # Every arm's lengths in every store: a store may serve another arm's ladder later.
    histories = sorted({h for arm in arms for h in _histories(arm)})
    for done, arm in enumerate(arms):
        progress.stage("profile", done, len(arms))
        with replayed_store(prepared, arm, folder / arm.name) as replayed:
            models = live_scorers(arm, snapshots(arm, model, plan.device), plan.threads)
            bench = _Bench(prepared, LiveCalls(prepared, replayed, models))
            key = arm.serving.store
            if key not in store:
                store[key] = bench.store(histories, grid.repeats)
            if not transport:
                transport = bench.transport(histories, grid.repeats)
            for name in models:
                if name not in score:
                    lengths = sorted({h for one in arms for h in _histories(one, name)})
                    score[name] = bench.scoring(name, lengths, grid, arm.serving.max_batch)
        shutil.rmtree(folder / arm.name, ignore_errors=True)
    progress.stage("profile", len(arms), len(arms))
    return ServiceProfile(
        machine=this_machine(gpu_name(plan.device)),
        versions=versions(),
        commit=commit() or "",
        date=datetime.now(UTC).date().isoformat(),
        store=store,
        transport=transport,
        score=score,
    )


def _histories(arm: Arm, model: str | None = None) -> set[int]:
    """An arm's ladder lengths, of one model or of all, and an eighth of the shortest for short histories."""
    lengths = {step.history for step in arm.scored_steps if model in (None, step.model)}
    return lengths | {max(1, min(lengths) // 8)} if lengths else set()


def _batches(most: int, every: bool) -> tuple[int, ...]:
    if not every:
        return tuple(sorted({1, most}))
    return tuple(sorted({most, *(2**i for i in range(most.bit_length()) if 2**i <= most)}))


class _InOrder:
    """Ever later requests with as many behaviours as are asked for; at the trace's end, from its start."""

    def __init__(self, available: NDArray[np.int64]) -> None:
        self._available, self._row = available, -1

    def next(self, history: int) -> int:
        """The next request whose user has `history` behaviours."""
        later = np.flatnonzero(self._available[self._row + 1 :] >= history)
        self._row = self._row + 1 + int(later[0]) if len(later) else _first(self._available, history)
        return self._row


def _first(available: NDArray[np.int64], history: int) -> int:
    rows = np.flatnonzero(available >= history)
    if len(rows) == 0:
        raise SimulatorError(
            f"No user of this world has {history} behaviours, expected some, to measure reading and "
            "scoring them. Lower the arm's history, raise traffic.world.history_max, or use a longer log."
        )
    return int(rows[0])


class _Bench:
    """One arm's calls on prepared inputs."""

    def __init__(self, prepared: Prepared, calls: LiveCalls) -> None:
        self._prepared, self._calls = prepared, calls

    def store(self, histories: list[int], repeats: int) -> dict[int, Samples]:
        # In the trace's order, as in serving: a store that is ahead of a request has to look for its moment.
        requests = _InOrder(self._prepared.history_available)
        return measure_store(lambda h: self._calls.read(requests.next(h), h)[1], histories, repeats)

    def transport(self, histories: list[int], repeats: int) -> dict[int, Samples]:
        payloads = {h: cycle([p for _, p in self._payloads(h, _BATCHES)]) for h in histories}
        return measure_transport(lambda h: self._calls.transport(next(payloads[h])), histories, repeats)

    def scoring(
        self, model: str, histories: list[int], grid: Grid, max_batch: int
    ) -> dict[tuple[int, int, int], Samples]:
        batches = _batches(max_batch, grid.all_batches)
        inputs: dict[int, Iterator[tuple[int, HistoryBatch]]] = {
            h: cycle(self._payloads(h, _BATCHES * max_batch)) for h in histories
        }

        def score(history: int, candidates: int, batch: int) -> object:
            pairs = [next(inputs[history]) for _ in range(batch)]
            return self._calls.score(
                [row for row, _ in pairs],
                model,
                [history] * batch,
                [payload for _, payload in pairs],
                candidates=candidates,
            )

        return measure_scoring(score, histories, grid.candidates, batches, grid.repeats)

    def _payloads(self, history: int, most: int) -> list[tuple[int, HistoryBatch]]:
        return [(row, self._calls.read(row, history)[0]) for row in self._requests(history)[:most]]

    def _requests(self, history: int) -> list[int]:
        """Requests of different users who have so many behaviours, spread over the trace."""
        _first(self._prepared.history_available, history)
        rows = np.flatnonzero(self._prepared.history_available >= history)
        _, first = np.unique(self._prepared.requests.user_id[rows], return_index=True)
        rows = rows[first]
        step = max(1, len(rows) // _USERS)
        return [int(row) for row in rows[::step]]
