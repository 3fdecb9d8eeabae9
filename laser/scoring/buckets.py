"""Scores in fixed shapes: each request's logits are the same bits, whoever shares its batch.

Start here: `BucketScorer.score` sorts requests by the shape that serves them (`shapes`), a `Bucket` scores
one batch of a shape.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from laser.models import RankingModel
from laser.models.plugins import plugin_code
from laser.out_of_memory import DeviceMemoryError, is_out_of_memory, memory_told
from laser.scoring.bucket import Bucket
from laser.scoring.requests import Requests, runs
from laser.scoring.runtime import Scorer, check_scores
from laser.scoring.shapes import Plan, Shape, at_a_time, plan
from laser.scoring.snapshot import Snapshot

_SHARE = 0.5  # of a GPU's memory that buckets may hold
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
        self._limit = memory_bytes
        if memory_bytes is None and self.snapshot.device.type == "cuda":
            self._limit = int(_SHARE * torch.cuda.get_device_properties(self.snapshot.device).total_memory)
        self._plans: dict[tuple[int, int], Plan] = {}
        self._smaller: dict[Shape, Shape] = {}  # where the planned shape did not fit
        self._buckets: OrderedDict[Shape, Bucket] = OrderedDict()  # that used longest ago first
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
        found = {"version": self.snapshot.version, "shapes": [str(self._fitting(s)) for s in planned]}
        return found if not self._smaller else found | {"smaller for want of memory": len(self._smaller)}

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
        if snapshot.model.config != self.snapshot.model.config or snapshot.device != self.snapshot.device:
            raise ValueError(
                f"found a snapshot of {snapshot.model.config} on {snapshot.device}, expected "
                f"{self.snapshot.model.config} on {self.snapshot.device}. Make a new scorer for it."
            )
        with memory_told(snapshot.device, "building buckets for new weights", "Swap on a new scorer."):
            made = OrderedDict((shape, Bucket(snapshot, shape)) for shape in self._buckets)
        self._eager.swap(snapshot)
        self._buckets = made
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

    def _one_by_one(self, requests: Requests, history: int, logits: NDArray[np.float32]) -> None:
        for row in range(len(requests)):
            logits[row] = self._eager.score(requests.take(np.array([row]), history).batch())[0]

    def _in_shapes(self, requests: Requests, history: int, logits: NDArray[np.float32]) -> None:
        key = history, requests.candidates
        if key not in self._plans:
            self._plans[key] = plan(self.snapshot.model, *key, self.snapshot.device.type)
        planned = self._plans[key]
        rung = planned.of(np.minimum(requests.lengths, history))
        for i, shape in enumerate(planned.shapes):
            rows = np.flatnonzero(rung == i)
            if len(rows):
                with plugin_code(self.snapshot.model.config.kind, "while scoring"):
                    self._in_shape(shape, requests.take(rows, history), rows, logits)

    def _in_shape(
        self, planned: Shape, requests: Requests, rows: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> None:
        """All requests through the bucket of a planned shape, or through what of it fits the device."""
        while True:
            fitting = self._fitting(planned)
            try:
                return _through(self._bucket(fitting), requests, rows, logits)
            except RuntimeError as error:  # while the bucket was built, or at work without a graph
                if not is_out_of_memory(error):
                    raise
                self._make_room(planned, fitting, error)

    def _bucket(self, shape: Shape) -> Bucket:
        """The bucket of a shape, built if need be; others are let go to keep within the limit."""
        if shape not in self._buckets:
            self._buckets[shape] = Bucket(self.snapshot, shape)
        self._buckets.move_to_end(shape)
        while self._limit is not None and len(self._buckets) > 1 and self._held() > self._limit:
            self._let_go()
        return self._buckets[shape]

    def _make_room(self, planned: Shape, tried: Shape, error: RuntimeError) -> None:
        """Let go of the other buckets; where there are none, plan half of the shape.

        Raises:
            DeviceMemoryError: the shape was of a single request.
        """
        others = [shape for shape in self._buckets if shape != tried]
        self._buckets.pop(tried, None)  # it may be half built, or too large
        if others:
            while self._buckets:
                self._let_go()
            return
        if tried.requests == 1:
            raise DeviceMemoryError(
                f"{self.snapshot.device} is out of memory with one request of {tried.history} behaviours and "
                f"{tried.candidates} candidates ({str(error).splitlines()[0]}). Use shorter histories or "
                "another device."
            ) from error
        self._smaller[planned] = tried.smaller()
        _log.warning("%s is out of memory for batches of %s, taking %s.",
                     self.snapshot.device, tried, tried.smaller())  # fmt: skip

    def _fitting(self, shape: Shape) -> Shape:
        return self._smaller.get(shape, shape)

    def _held(self) -> int:
        return sum(bucket.bytes for bucket in self._buckets.values())

    def _let_go(self) -> None:
        self._buckets.popitem(last=False)
        if self.snapshot.device.type == "cuda":
            torch.cuda.empty_cache()

    def _say_eager(self) -> None:
        model = self.snapshot.model
        # Not inherited: what a subclass reads is its own matter.
        fixed = bool(vars(type(model)).get("FIXED_SHAPES"))
        self._alone = None if fixed else f"{type(model).__name__} does not set FIXED_SHAPES"
        if self._alone:
            _log.info("%s: its requests are scored one by one.", self._alone)


def _through(
    bucket: Bucket, requests: Requests, rows: NDArray[np.int64], logits: NDArray[np.float32]
) -> None:
    """All requests through one bucket, as many batches under way as it has slots.

    Each batch is checked before it is put, while others are scored: that takes as long as packing it.
    """
    under_way: deque[tuple[int, int, int]] = deque()

    def finish() -> None:
        slot, first, end = under_way.popleft()
        logits[rows[first:end]] = bucket.take(slot, end - first)[:, : logits.shape[1]]

    try:
        for i, (first, end) in enumerate(runs(len(requests), bucket.shape.requests)):
            part = requests.part(first, end)
            part.check(bucket.config)
            if len(under_way) == bucket.slots:
                finish()
            bucket.put(i % bucket.slots, part)
            under_way.append((i % bucket.slots, first, end))
    finally:
        while under_way:  # also where a request is refused: its neighbours are still being copied
            finish()
