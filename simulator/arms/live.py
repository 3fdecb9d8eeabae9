"""Live service times: the arm's real store, transport and models, called inside the simulated process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqvault.store import HistoryBatch, ReadTime
from seqvault.transport import pack, unpack
from simulator.arms.clock import Clock, serving_arm
from simulator.arms.scores import (
    F4,
    MODEL_COLUMNS,
    ArmModels,
    ArmStore,
    newest,
    open_arm_store,
    ranking_batch,
    trained_models,
)
from simulator.arms.training import ModelSpec, TrainedModel
from simulator.execution import interrupts
from simulator.inputs.prepare import Prepared
from simulator.serving.pipeline import Served, serve
from simulator.serving.profile import ServiceProfile
from simulator.serving.service_times import LiveServiceTimes, ProfilePredictions


class ArmCalls:
    """The real calls of one arm, in the form the timing plane asks for them."""

    def __init__(self, prepared: Prepared, store: ArmStore, models: ArmModels) -> None:
        self._prepared, self._store, self._models = prepared, store, models

    def read(self, request: int, history: int) -> tuple[HistoryBatch, ReadTime]:
        """Bring the store up to the request's moment (not charged), then read (charged)."""
        interrupts.check()  # what was measured is lost then: measured times cannot be replayed
        before_s = int(self._prepared.readable_before_s[request])
        self._store.ingest_for(request)
        return self._store.store.timed_read_last(
            self._prepared.requests.user_id[request : request + 1],
            history,
            before_s=before_s,
            columns=MODEL_COLUMNS,
        )

    def transport(self, payload: HistoryBatch) -> HistoryBatch:
        """One frame a request, packed and unpacked."""
        return unpack(pack(payload))

    def score(
        self,
        requests: Sequence[int],
        model: str,
        histories: Sequence[int],
        payloads: Sequence[HistoryBatch],
        candidates: int | None = None,
    ) -> F4:
        """Score a batch; the model's input is built here, so its cost is the model's.

        Args:
            candidates: another number of candidates than the trace's (the same ones, repeated or cut).
        """
        rows = np.array(requests, np.int64)
        batch = ranking_batch(self._prepared, rows, newest(payloads, histories), candidates)
        return self._models.score(model, batch)


def serve_live(
    prepared: Prepared,
    name: str,
    clock: Clock,
    calibration: ServiceProfile,
    budget_s: float | None,
    trained: dict[ModelSpec, TrainedModel],
    folder: Path,
) -> tuple[Served, F4, dict[str, Any]]:
    """One arm's timing plane with measured service times.

    Args:
        calibration: what the ladder predicts with, measured on this machine.

    Returns:
        The timing plane, (K, R, C) logits of what was scored (NaN elsewhere), and notes for the manifest.
    """
    arm = serving_arm(prepared.config, name)
    candidates = prepared.requests.candidates.shape
    with open_arm_store(prepared, name, folder) as store:
        calls = ArmCalls(prepared, store, trained_models(prepared.config, name, trained))
        predictions = ProfilePredictions(calibration, arm, candidates[1])
        times = LiveServiceTimes(calls.read, calls.transport, calls.score, predictions)
        served = serve(clock.sim_arrival_s, prepared.history_available, arm, times, budget_s)
    logits = np.full((len(arm.steps) - 1, *candidates), np.nan, np.float32)
    for row, (_, _, scores) in times.scores.items():
        logits[served.step[row], row] = scores
    notes = {
        "binding_share": times.binding_share,
        "store_own_s": times.store_own_s,
        "store_binding_s": times.store_binding_s,
        "transport_s": times.transport_spent_s,
        "score_s": times.score_spent_s,
    }
    return served, logits, notes
