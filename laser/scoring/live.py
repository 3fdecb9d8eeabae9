"""Scores in service: a batch as it formed, in as few padded places as pay. Start at `LiveScorer.score`.

Here a shape may follow from the batch, so a request's logits may differ in their last bits with those who
share it; that they never do is the promise of `buckets.py`, where scores are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from laser.models import RankingModel
from laser.models.plugins import plugin_code
from laser.scoring.buckets import Scores
from laser.scoring.held import Batch, HeldBuckets, said_alone
from laser.scoring.requests import Requests
from laser.scoring.runtime import Scorer, check_scores
from laser.scoring.shapes import lanes, live_shape, live_shapes
from laser.scoring.snapshot import Snapshot

_ANY = 1 << 20  # requests: more than any batch has


@dataclass(frozen=True)
class UnderWay:
    """Requests that are being scored."""

    requests: Requests
    logits: NDArray[np.float32]
    batches: list[Batch]
    snapshot: Snapshot

    def scores(self) -> Scores:
        """Wait for them.

        Raises:
            ScoreError: a candidate's score is NaN or infinite.
        """
        for batch in self.batches:
            batch.finish()
        check_scores(self.logits, self.requests.candidate_count, self.snapshot.model.config)
        return Scores(self.logits, self.snapshot.version)


class LiveScorer:
    """Scores dynamic batches with one snapshot.

    A batch is parted into lanes of similar histories (`shapes.lanes`). On a GPU a lane goes to a bucket whose
    number of requests is a power of two and whose history a half of a half of the full one, captured once. On
    a CPU, where nothing is captured, and for models without fixed shapes, a lane is a batch as it is.
    """

    def __init__(
        self,
        model: RankingModel | Snapshot,
        history: int,
        device: str | torch.device = "cpu",
        threads: int = 1,
        memory_bytes: int | None = None,
    ) -> None:
        """Make one; `warm` builds its buckets.

        Args:
            model: or a snapshot, which has a device of its own.
            history: the longest that is served; rungs are halves of it.
            threads: of the CPU, for the whole process: torch has one number of them.
            memory_bytes: see `HeldBuckets`.
        """
        self._eager, self._history = Scorer(model, device, threads), history
        self.held = HeldBuckets(self.snapshot, memory_bytes)
        self._device = self.snapshot.device.type
        self._in_buckets = self._device == "cuda" and said_alone(self.snapshot) is None

    @property
    def snapshot(self) -> Snapshot:
        """What scores now."""
        return self._eager.snapshot

    @property
    def notes(self) -> dict[str, Any]:
        """For a manifest: the weights' version, the shapes in use and which were taken smaller for want of
        memory; no shapes where batches are scored as they come."""
        found: dict[str, Any] = {"version": self.snapshot.version, "precision": self.snapshot.precision}
        if self._in_buckets:
            found["shapes"] = sorted(str(shape) for shape in self.held.buckets)
            found["smaller for want of memory"] = {str(k): str(v) for k, v in self.held.smaller.items()}
        return found

    def swap(self, snapshot: Snapshot) -> None:
        """Score with another snapshot from now on; what is under way keeps the old one and its version.

        Raises:
            ValueError: another configuration or device.
            DeviceMemoryError: the device has no room for both; nothing has changed.
        """
        self.held = self.held.swapped(snapshot)
        self._eager.swap(snapshot)

    def warm(self, most: int, candidates: int) -> None:
        """Build every bucket that batches of up to `most` requests ask for, so that no request waits for one.

        Raises:
            DeviceMemoryError: the device is out of memory even for one request.
        """
        if self._in_buckets:
            for shape in live_shapes(self.snapshot.model, most, self._history, candidates, self._device):
                self.held.build(shape)

    def at_once(self, history: int, candidates: int) -> int:
        """How many requests of so many behaviours are scored at once; more are scored one after another."""
        if not self._in_buckets:
            return _ANY
        model = self.snapshot.model
        shape = live_shape(model, _ANY, history, self._history, candidates, self._device)
        return self.held.fitting(shape).requests

    def score(self, requests: Requests) -> Scores:
        """Score requests by all the behaviours they bring.

        Raises:
            ScoreError: see `Requests.check`, or a candidate's score is NaN or infinite.
            DeviceMemoryError: the device is out of memory even for one request.
            PluginError: a model of the user's own raised.
        """
        return self.begin(requests).scores()

    def begin(self, requests: Requests) -> UnderWay:
        """`score`, without waiting for it where a GPU is at work; errors as there."""
        logits = np.full(requests.ad.shape, -np.inf, np.float32)
        batches: list[Batch] = []
        if len(requests) and requests.candidates:
            lengths = requests.lengths.astype(np.int64)
            for rows in lanes(lengths, requests.candidates, self._device):
                longest = int(lengths[rows].max())
                if len(rows) == len(requests):  # nothing to part: their own order, nothing copied
                    rows, lane = np.arange(len(requests)), requests
                else:
                    lane = requests.take(rows, longest)
                if self._in_buckets:
                    batches += self._begin(lane, longest, rows, logits)
                else:
                    logits[rows] = self._eager.score(lane.batch())
        return UnderWay(requests, logits, batches, self.snapshot)

    def _begin(
        self, lane: Requests, longest: int, rows: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> list[Batch]:
        model = self.snapshot.model
        shape = live_shape(model, len(lane), longest, self._history, lane.candidates, self._device)
        with plugin_code(model.config.kind, "while scoring"):
            return self.held.begin(shape, lane, rows, logits)
