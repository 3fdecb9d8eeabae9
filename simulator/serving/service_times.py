"""How long an arm's stages take: drawn from a profile, or measured while they run.

`ServiceTimes` is the pipeline's only view of work. All values are seconds of simulated time and
are never scaled, padded or slept. A request is named by its row in the trace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.scratch import blank, let_go
from simulator.serving.arm import ServingArm
from simulator.serving.luck import luck
from simulator.serving.predictions import LADDER_QUANTILE, Predictions, ProfilePredictions
from simulator.serving.profile import ServiceProfile

_AT_ONCE = 1 << 18  # requests whose luck is drawn together


class ServiceTimes(Protocol):
    """One arm's work. The pipeline asks for each piece once, when it starts."""

    @property
    def predictions(self) -> Predictions:
        """What policies may know of it beforehand."""
        ...

    def store_s(self, request: int, history: int) -> float:
        """Read a request's newest `history` behaviours."""
        ...

    def transport_s(self, request: int, history: int) -> float:
        """Pack and unpack what was read."""
        ...

    def score_s(self, requests: Sequence[int], model: str, histories: Sequence[int]) -> float:
        """Score one batch with one model; it costs what its longest history costs."""
        ...


class ProfileServiceTimes(ProfilePredictions):
    """Draws by inverse CDF, one quantile per request and stage (`luck.py`).

    Every arm meets the same luck (common random numbers). A batch draws with its first request's.

    Args:
        profile, arm, candidates, quantile, extrapolate: see `ProfilePredictions`.
        seed: the experiment's.
        request_ids: (R,) unsigned integers, by row of the trace.

    Attributes:
        luck: (3, R) quantiles of the store, the transport and the scoring of each request.
    """

    def __init__(
        self,
        profile: ServiceProfile,
        arm: ServingArm,
        candidates: int,
        seed: int,
        request_ids: ArrayLike,
        quantile: float = LADDER_QUANTILE,
        extrapolate: bool = False,
    ) -> None:
        super().__init__(profile, arm, candidates, quantile, extrapolate)
        ids = np.asarray(request_ids)
        self.luck = blank({"luck": (np.float64, (len(self.clamped), len(ids)))})["luck"]
        for first in range(0, len(ids), _AT_ONCE):
            rows = slice(first, first + _AT_ONCE)
            for own, stage in zip(self.luck, self.clamped, strict=True):
                own[rows] = luck(profile, stage, seed, ids[rows], first)
            let_go(self.luck)

    @property
    def predictions(self) -> Predictions:
        """See `ServiceTimes`."""
        return self

    # Python floats: a list's element costs a third of a numpy scalar's in the event loop.
    @cached_property
    def _lists(self) -> list[list[float]]:
        lists: list[list[float]] = self.luck.tolist()
        return lists

    def store_s(self, request: int, history: int) -> float:
        """See `ServiceTimes`."""
        spread = self._store.get(history) or self.store_spread(history)
        if spread.clamped:
            self.clamped["store"] += 1
        return spread.quantile(self._lists[0][request])

    def transport_s(self, request: int, history: int) -> float:
        """See `ServiceTimes`."""
        spread = self._transport.get(history) or self.transport_spread(history)
        if spread.clamped:
            self.clamped["transport"] += 1
        return spread.quantile(self._lists[1][request])

    def score_s(self, requests: Sequence[int], model: str, histories: Sequence[int]) -> float:
        """See `ServiceTimes`."""
        spread = self.score_spread(model, max(histories), len(requests))
        if spread.clamped:
            self.clamped["score"] += 1
        return spread.quantile(self._lists[2][requests[0]])


class ReadSeconds(Protocol):
    """What a store says of one read (as `seqvault`'s ReadTime): own_s <= call_s."""

    @property
    def call_s(self) -> float:
        """The whole call."""
        ...

    @property
    def own_s(self) -> float:
        """The store's own work, without the language binding's."""
        ...


class LiveServiceTimes:
    """Real calls, made inside the simulated process; their measured duration is simulated time.

    The store is charged `own_s`; the binding's share (call_s - own_s) is reported, not charged.
    Scores are kept, so that nothing is computed twice.

    Args:
        read: (request, history) -> (payload, its ReadSeconds).
        transport: payload -> payload, packed and unpacked once.
        score: (requests, model, histories, payloads) -> (B, C) float32 scores, on the host when it
            returns (a GPU is synchronised). A payload may hold more behaviours than the history
            the ladder settled on: score the newest.
        predictions: for policies, from a calibration on this machine.

    Attributes:
        predictions: those.
        scores: request -> (model, history, (C,) float32).
        store_own_s, store_binding_s, transport_spent_s, score_spent_s: totals, s.
    """

    def __init__(
        self,
        read: Callable[[int, int], tuple[Any, ReadSeconds]],
        transport: Callable[[Any], Any],
        score: Callable[[Sequence[int], str, Sequence[int], Sequence[Any]], NDArray[np.float32]],
        predictions: Predictions,
    ) -> None:
        self._read, self._transport, self._score = read, transport, score
        self.predictions = predictions
        self._payloads: dict[int, Any] = {}
        self.scores: dict[int, tuple[str, int, NDArray[np.float32]]] = {}
        self.store_own_s = self.store_binding_s = self.transport_spent_s = self.score_spent_s = 0.0

    @property
    def binding_share(self) -> float:
        """Share of the store calls' time spent in the language binding, in [0, 1]."""
        call_s = self.store_own_s + self.store_binding_s
        return self.store_binding_s / call_s if call_s > 0.0 else 0.0

    def store_s(self, request: int, history: int) -> float:
        """See `ServiceTimes`.

        Raises:
            ValueError: the store reports more own work than the call took, or a negative time.
        """
        payload, spent = self._read(request, history)
        if not 0.0 <= spent.own_s <= spent.call_s:
            raise ValueError(
                f"The store reports own_s {spent.own_s} of a call of {spent.call_s} s, expected "
                "0 <= own_s <= call_s. Correct the store's timing."
            )
        self._payloads[request] = payload
        self.store_own_s += spent.own_s
        self.store_binding_s += spent.call_s - spent.own_s
        return spent.own_s

    def transport_s(self, request: int, history: int) -> float:
        """See `ServiceTimes`."""
        payload = self._payloads[request]
        start_s = time.perf_counter()
        payload = self._transport(payload)
        spent_s = time.perf_counter() - start_s
        self._payloads[request] = payload
        self.transport_spent_s += spent_s
        return spent_s

    def score_s(self, requests: Sequence[int], model: str, histories: Sequence[int]) -> float:
        """See `ServiceTimes`.

        Raises:
            ValueError: the scorer returned another number of rows than requests.
        """
        payloads = [self._payloads.pop(r) for r in requests]
        start_s = time.perf_counter()
        scores = self._score(requests, model, histories, payloads)
        spent_s = time.perf_counter() - start_s
        if len(scores) != len(requests):
            raise ValueError(
                f"The scorer returned {len(scores)} rows for {len(requests)} requests, expected one each. "
                "Correct the scorer."
            )
        for request, history, row in zip(requests, histories, scores, strict=True):
            self.scores[request] = (model, history, row)
        self.score_spent_s += spent_s
        return spent_s
