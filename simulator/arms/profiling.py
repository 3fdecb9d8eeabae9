"""Measuring this machine: a service-time profile of an experiment's stores, transport and models.

The calls measured are the ones that live service times make (`live.py`), on the experiment's own
world: real histories in a real store, read for another user each time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqvault.store import HistoryBatch
from simulator.arms.live import ArmCalls
from simulator.arms.readiness import check_parts
from simulator.arms.scores import ArmModels, open_arm_store, trained_models, untrained_models
from simulator.arms.training import ModelSpec, TrainedModel, arm_ladder
from simulator.config.load import ExperimentConfig
from simulator.errors import SimulatorError
from simulator.execution.environment import commit, versions
from simulator.execution.progress import Progress, Silent
from simulator.inputs.prepare import Prepared, prepare
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
        progress: told after each stage.

    Raises:
        SimulatorError: the configuration cannot be measured: no user has a history that long.
        ValueError: a part of it is not there, see `check_parts`.
    """
    check_parts(config)
    prepared = prepare(config)
    candidates = prepared.requests.candidates.shape[1]
    around = (candidates,) if quick else (max(1, candidates // 2), candidates, 2 * candidates)
    grid = Grid(MIN_SAMPLES if quick else 2 * MIN_SAMPLES, around, True)
    with tempfile.TemporaryDirectory(prefix="laser-ab-profile-", dir=_parent(out)) as folder:
        profile = _measure(
            prepared, grid, lambda name: untrained_models(prepared, name), Path(folder), progress or Silent()
        )
    save(profile, out)
    return out


def calibrate(
    prepared: Prepared, trained: dict[ModelSpec, TrainedModel], folder: Path, progress: Progress
) -> ServiceProfile:
    """The smallest profile of the arms on this machine: what live runs size themselves and predict by."""
    grid = Grid(MIN_SAMPLES, (prepared.requests.candidates.shape[1],), False)
    return _measure(
        prepared, grid, lambda name: trained_models(prepared.config, name, trained), folder, progress
    )


def _parent(out: Path) -> Path:
    # On the disk the profile goes to: the store that is measured lives there for a while.
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


def _measure(
    prepared: Prepared, grid: Grid, models: Callable[[str], ArmModels], folder: Path, progress: Progress
) -> ServiceProfile:
    config = prepared.config
    store: dict[str, dict[int, Samples]] = {}
    transport: dict[int, Samples] = {}
    score: dict[str, dict[tuple[int, int, int], Samples]] = {}
    names = config.arm_names
    for done, name in enumerate(names):
        progress.stage("profile", done, len(names))
        with open_arm_store(prepared, name, folder / name) as arm_store:
            bench = _Bench(prepared, ArmCalls(prepared, arm_store, models(name)))
            # Every arm's lengths in every store: a store may serve another arm's ladder later.
            histories = sorted({h for n in names for h in _histories(config, n)})
            key = config.arms[name].store_key
            if key not in store:
                store[key] = bench.store(histories, grid.repeats)
            if not transport:
                transport = bench.transport(histories, grid.repeats)
            for model in dict.fromkeys(s.model for s in arm_ladder(config, name) if s.model):
                if model not in score:
                    lengths = sorted({h for n in names for h in _model_histories(config, n, model)})
                    score[model] = bench.scoring(model, lengths, grid, config.arms[name].max_batch)
        shutil.rmtree(folder / name, ignore_errors=True)
    progress.stage("profile", len(names), len(names))
    return ServiceProfile(
        machine=this_machine(_gpu(config)),
        versions=versions(),
        commit=commit() or "",
        date=datetime.now(UTC).date().isoformat(),
        store=store,
        transport=transport,
        score=score,
    )


def _gpu(config: ExperimentConfig) -> str | None:
    from laser.scoring.device import gpu_name

    return gpu_name(config.experiment.device)


def _histories(config: ExperimentConfig, name: str) -> set[int]:
    """An arm's ladder lengths, and an eighth of the shortest for users with short histories."""
    lengths = {step.history for step in arm_ladder(config, name) if step.model}
    return lengths | {max(1, min(lengths) // 8)}


def _model_histories(config: ExperimentConfig, name: str, model: str) -> set[int]:
    lengths = {step.history for step in arm_ladder(config, name) if step.model == model}
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

    def __init__(self, prepared: Prepared, calls: ArmCalls) -> None:
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
