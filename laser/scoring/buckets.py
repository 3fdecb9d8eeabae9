"""Scores in fixed shapes: each request's logits are the same bits, whoever shares its batch.

Start here: `BucketScorer.score` sorts requests by the shape that serves them (`shapes`), a `Bucket` scores
one batch of a shape. For batches as they form in service, see `live.py`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from laser.models import RankingModel
from laser.models.plugins import plugin_code
from laser.scoring.held import Batch, HeldBuckets, said_alone
from laser.scoring.requests import Requests
from laser.scoring.runtime import Scorer, check_scores
from laser.scoring.shapes import Plan, at_a_time, plan
from laser.scoring.snapshot import Snapshot

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """Attributes:
    logits: (R, C) float32, -inf for candidates beyond candidate_count.
    version: of the snapshot that made them.
    """

    logits: NDArray[np.float32]
    version: str


class BucketScorer:
    """Scores requests with one snapshot in shapes that are planned once.

    On one kind of device a request's logits are equal bit for bit, alone or among others, in any place of a
    batch, in any process. Models without fixed shapes (see `RankingModel.FIXED_SHAPES`) are scored request by
    request, which is as repeatable and slower; `notes` says so. Where the device has no room for a planned
    shape, half of it is taken, in which the last bits may differ: `notes` and a warning say so.
    """

    def __init__(
        self,
        model: RankingModel | Snapshot,
        device: str | torch.device = "cpu",
        threads: int = 1,
        memory_bytes: int | None = None,
    ) -> None:
        """Make one; buckets are built when they are first needed.

        Args:
            model: or a snapshot, which has a device of its own.
            threads: of the CPU, for the whole process: torch has one number of them.
            memory_bytes: that buckets may hold together; those used longest ago are let go beyond it. By
                default half of a GPU's memory, and no limit on a CPU.
        """
        self._eager = Scorer(model, device, threads)
        self.held = HeldBuckets(self.snapshot, memory_bytes)
        self._plans: dict[tuple[int, int], Plan] = {}
        self._say_eager()

    @property
    def snapshot(self) -> Snapshot:
        """What scores now."""
        return self._eager.snapshot

    @property
    def notes(self) -> dict[str, Any]:
        """For a manifest: the shapes in use, or why there are none."""
        if self._alone:
            return {"version": self.snapshot.version, "shapes": [], "request by request": self._alone}
        planned = sorted({shape for made in self._plans.values() for shape in made.shapes})
        found = {"version": self.snapshot.version, "shapes": [str(self.held.fitting(s)) for s in planned]}
        return found if not self.smaller else found | {"smaller for want of memory": self.smaller}

    @property
    def smaller(self) -> dict[str, str]:
        """Planned shape -> the smaller one taken for want of memory; scores made so may differ in their last
        bits from those of the planned shape."""
        return {str(planned): str(taken) for planned, taken in sorted(self.held.smaller.items())}

    @property
    def at_a_time(self) -> int:
        """Requests worth gathering for one call of `score`: some full batches of every shape."""
        return at_a_time(self.snapshot.device.type)

    def swap(self, snapshot: Snapshot) -> None:
        """Score with another snapshot from now on: of the same kind of model, on the same device.

        The buckets in use are built for it first; if that fails, nothing has changed.

        Raises:
            ValueError: another configuration or device.
            DeviceMemoryError: the device has no room for both.
        """
        held = self.held.swapped(snapshot)
        self._eager.swap(snapshot)
        self.held = held
        self._say_eager()

    def score(self, requests: Requests, history: int) -> Scores:
        """Score requests by their newest `history` behaviours.

        Args:
            requests: any number of them.
            history: what the ladder step reads; it decides the shapes.

        Raises:
            ScoreError: an id is beyond what the model was built for, an age is negative or not finite, or a
                candidate's score is NaN or infinite.
            DeviceMemoryError: the device is out of memory even for one request.
            PluginError: a model of the user's own raised.
        """
        model = self.snapshot.model
        logits = np.full(requests.ad.shape, -np.inf, np.float32)
        if self._alone:
            self._one_by_one(requests, history, logits)
        elif len(requests) and requests.candidates:
            self._in_shapes(requests, history, logits)
        check_scores(logits, requests.candidate_count, model.config)
        return Scores(logits, self.snapshot.version)

    def neighbours(self, lengths: NDArray[np.int64], history: int, candidates: int) -> NDArray[np.int64]:
        """An order of requests in which those of one shape lie together, so that `score` copies no histories.

        Args:
            lengths: (R,) behaviours of each, about.
            history, candidates: as `score` will have them.

        Returns:
            (R,) their places.
        """
        if self._alone:
            return np.arange(len(lengths))
        rung = self._plan(history, candidates).of(np.minimum(lengths, history))
        return np.argsort(rung, kind="stable")

    def _one_by_one(self, requests: Requests, history: int, logits: NDArray[np.float32]) -> None:
        for row in range(len(requests)):
            logits[row] = self._eager.score(requests.take(np.array([row]), history).batch())[0]

    def _plan(self, history: int, candidates: int) -> Plan:
        key = history, candidates
        if key not in self._plans:
            self._plans[key] = plan(self.snapshot.model, *key, self.snapshot.device.type)
        return self._plans[key]

    def _in_shapes(self, requests: Requests, history: int, logits: NDArray[np.float32]) -> None:
        planned = self._plan(history, requests.candidates)
        rung = planned.of(np.minimum(requests.lengths, history))
        batches: list[Batch] = []
        for i, shape in enumerate(planned.shapes):
            rows = np.flatnonzero(rung == i)
            if len(rows):
                with plugin_code(self.snapshot.model.config.kind, "while scoring"):
                    batches += self.held.begin(shape, requests.take(rows, history), rows, logits)
        for batch in batches:
            batch.finish()

    def _say_eager(self) -> None:
        self._alone = said_alone(self.snapshot)
        if self._alone:
            _log.info("%s: its requests are scored one by one.", self._alone)
