"""Live service times: the arm's real store, transport and models, called inside the simulated process."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from laser.scoring.live import LiveScorer
from seqvault.store import HistoryBatch, ReadTime
from seqvault.transport import pack, unpack
from simulator.arms.arm import Arm
from simulator.arms.cell import Cell
from simulator.arms.histories.replayed import ReplayedStore
from simulator.arms.models import live_scorers
from simulator.arms.scores import (
    F4,
    newest,
    precision_notes,
    replayed_store,
    requests_of,
    trained_snapshots,
)
from simulator.execution import interrupts
from simulator.inputs.prepare import Prepared
from simulator.serving.measure import collector_off
from simulator.serving.pipeline import Served, serve
from simulator.serving.predictions import ProfilePredictions
from simulator.serving.service_times import LiveServiceTimes

_PAUSE_EVERY = 1024  # requests; between reads, where nothing is timed

#: Hears now and then which request is read.
Told = Callable[[int], None]


def _unheard(request: int) -> None:
    pass


class LiveCalls:
    """The real calls of one arm, in the form the timing plane asks for them."""

    def __init__(
        self,
        prepared: Prepared,
        store: ReplayedStore,
        models: Mapping[str, LiveScorer],
        told: Told = _unheard,
    ) -> None:
        self._prepared, self._store, self._models, self._told = prepared, store, models, told

    def read(self, request: int, history: int) -> tuple[HistoryBatch, ReadTime]:
        """Bring the store up to the request's moment (not charged), then read (charged)."""
        interrupts.check()  # what was measured is lost then: measured times cannot be replayed
        if request % _PAUSE_EVERY == 0:
            self._told(request)
            if not gc.isenabled():
                gc.collect()
        self._store.ingest_for(request)
        return self._store.timed_read(request, history)

    def transport(self, payload: HistoryBatch) -> HistoryBatch:
        """One frame per request, packed and unpacked."""
        return unpack(pack(payload))

    def score(
        self,
        requests: Sequence[int],
        model: str,
        histories: Sequence[int],
        payloads: Sequence[HistoryBatch],
        candidates: int | None = None,
    ) -> F4:
        """Score a dynamic batch; the model's input is built here, so its cost is the model's.

        Args:
            candidates: another number of candidates than the trace's (the same ones, repeated or cut).
        """
        rows = np.array(requests, np.int64)
        batch = requests_of(self._prepared, rows, newest(payloads, histories), candidates)
        return self._models[model].score(batch).logits


def serve_live(
    cell: Cell, arm: Arm, folder: Path, told: Told = _unheard
) -> tuple[Served, F4, dict[str, Any]]:
    """One arm's timing plane with measured service times; its ladder predicts with the cell's profile.

    Returns:
        The timing plane, (K, R, C) logits of what was scored (NaN elsewhere), and notes for the manifest.
    """
    prepared, serving, clock = cell.plan.prepared, arm.serving, cell.clock
    candidates = prepared.requests.candidates.shape
    with replayed_store(prepared, arm, folder) as store:
        models = live_scorers(arm, trained_snapshots(cell.plan, arm, cell.trained), cell.plan.threads)
        for model in models.values():
            model.warm(serving.max_batch, candidates[1])
        calls = LiveCalls(prepared, store, models, told)
        predictions = ProfilePredictions(cell.profile, serving, candidates[1], extrapolate=True)
        times = LiveServiceTimes(calls.read, calls.transport, calls.score, predictions)
        arrival_s = clock.sim_arrival_s
        with collector_off():  # as where predictions were measured; a pass takes longer than a request
            served = serve(arrival_s, prepared.history_available, serving, times, clock.budget_s)
        logits = np.full((len(arm.scored_steps), *candidates), np.nan, np.float32)
        for row, (_, _, scores) in times.scores.items():
            logits[served.step[row], row] = scores
        changes = precision_notes(cell.plan, arm, cell.trained, store, logits)
    notes = {
        "binding_share": times.binding_share,
        "store_own_s": times.store_own_s,
        "store_binding_s": times.store_binding_s,
        "transport_s": times.transport_spent_s,
        "score_s": times.score_spent_s,
        "live_scoring": {key: {**model.notes, **changes.get(key, {})} for key, model in models.items()},
    }
    return served, logits, notes
