"""Buckets that a scorer holds on a device: built when first needed, let go under a limit, smaller where the
device has no room. Start at `HeldBuckets.begin`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from laser.out_of_memory import DeviceMemoryError, is_out_of_memory, memory_told
from laser.scoring.bucket import Bucket
from laser.scoring.requests import Requests, runs
from laser.scoring.shapes import Shape
from laser.scoring.snapshot import Snapshot

_SHARE = 0.5  # of a GPU's memory that buckets may hold
_log = logging.getLogger(__name__)


class Batch:
    """A batch under way in a bucket, and where its logits belong."""

    def __init__(
        self, bucket: Bucket, slot: int, rows: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> None:
        self._bucket, self._slot, self._rows, self._logits = bucket, slot, rows, logits
        self._done = False

    def finish(self) -> None:
        """Wait for the logits and write them to their rows; a second time nothing happens."""
        if not self._done:
            found = self._bucket.take(self._slot, len(self._rows))
            self._logits[self._rows] = found[:, : self._logits.shape[1]]
            self._done = True


class HeldBuckets:
    """Attributes:
    snapshot: what scores.
    smaller: planned shape -> the shape that fits, where the device had no room for the planned one.
    """

    def __init__(self, snapshot: Snapshot, memory_bytes: int | None) -> None:
        """Args:
        memory_bytes: that buckets may hold together; those used longest ago are let go beyond it. By default
            half of a GPU's memory, and no limit on a CPU.
        """
        self.snapshot, self._limit = snapshot, memory_bytes
        if memory_bytes is None and snapshot.device.type == "cuda":
            self._limit = int(_SHARE * torch.cuda.get_device_properties(snapshot.device).total_memory)
        self.smaller: dict[Shape, Shape] = {}
        self.buckets: OrderedDict[Shape, Bucket] = OrderedDict()  # that used longest ago first
        self._under_way: dict[tuple[Bucket, int], Batch] = {}
        self._turn: dict[Bucket, int] = {}  # the slot that is next

    def swapped(self, snapshot: Snapshot) -> HeldBuckets:
        """The same shapes for another snapshot of the same kind of model on the same device.

        Raises:
            ValueError: another configuration or device.
            DeviceMemoryError: the device has no room for both.
        """
        if snapshot.model.config != self.snapshot.model.config or snapshot.device != self.snapshot.device:
            raise ValueError(
                f"found a snapshot of {snapshot.model.config} on {snapshot.device}, expected "
                f"{self.snapshot.model.config} on {self.snapshot.device}. Make a new scorer for it."
            )
        other = HeldBuckets(snapshot, self._limit)
        other.smaller = dict(self.smaller)
        with memory_told(snapshot.device, "building buckets for new weights", "Swap on a new scorer."):
            for shape in self.buckets:
                other.buckets[shape] = Bucket(snapshot, shape)
        return other

    def fitting(self, shape: Shape) -> Shape:
        """The shape itself, or what of it fits the device."""
        return self.smaller.get(shape, shape)

    def build(self, shape: Shape) -> None:
        """Have a shape's bucket, or that of what of it fits, ready.

        Raises:
            DeviceMemoryError: the device is out of memory even for one request.
        """
        while True:
            try:
                self.bucket(self.fitting(shape))
                return
            except RuntimeError as error:
                self._fall_back(shape, error)

    def begin(
        self, planned: Shape, requests: Requests, rows: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> list[Batch]:
        """Put requests through the bucket of a planned shape, or through what of it fits the device.

        Each batch is checked before it is put, while others are scored: that takes as long as packing it.

        Args:
            requests: any number of them, none longer than the shape.
            rows: (R,) where their logits belong.
            logits: (N, C), written when a batch is finished.

        Returns:
            The batches, some of them under way: finish each.

        Raises:
            ScoreError: see `Requests.check`.
            DeviceMemoryError: the device is out of memory even for one request.
        """
        while True:
            try:
                return list(self._put(self.bucket(self.fitting(planned)), requests, rows, logits))
            except RuntimeError as error:  # while the bucket was built, or at work without a graph
                self._fall_back(planned, error)

    def bucket(self, shape: Shape) -> Bucket:
        """The bucket of a shape, built if need be; others are let go to keep within the limit."""
        if shape not in self.buckets:
            self.buckets[shape] = Bucket(self.snapshot, shape)
        self.buckets.move_to_end(shape)
        while self._limit is not None and len(self.buckets) > 1 and self._held() > self._limit:
            self._let_go(next(iter(self.buckets)))
        return self.buckets[shape]

    def _put(
        self, bucket: Bucket, requests: Requests, rows: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> Iterable[Batch]:
        for first, end in runs(len(requests), bucket.shape.requests):
            part = requests.part(first, end)
            part.check(bucket.config)
            slot = self._turn.get(bucket, 0)
            if before := self._under_way.pop((bucket, slot), None):
                before.finish()
            bucket.put(slot, part)
            batch = Batch(bucket, slot, rows[first:end], logits)
            self._turn[bucket] = (slot + 1) % bucket.slots
            self._under_way[bucket, slot] = batch
            yield batch

    def _fall_back(self, planned: Shape, error: RuntimeError) -> None:
        """Let go of the other buckets; where there are none, plan half of the shape.

        Raises:
            DeviceMemoryError: the shape was of a single request.
            RuntimeError: what went wrong was not memory.
        """
        if not is_out_of_memory(error):
            raise error
        tried = self.fitting(planned)
        others = [shape for shape in self.buckets if shape != tried]
        for shape in list(self.buckets):  # that which was tried may be half built, or too large
            self._let_go(shape)
        if others:
            return
        if tried.requests == 1:
            raise DeviceMemoryError(
                f"{self.snapshot.device} is out of memory with one request of {tried.history} behaviours and "
                f"{tried.candidates} candidates ({str(error).splitlines()[0]}). Use shorter histories or "
                "another device."
            ) from error
        self.smaller[planned] = tried.smaller()
        _log.warning("%s is out of memory for batches of %s, taking %s.",
                     self.snapshot.device, tried, tried.smaller())  # fmt: skip

    def _held(self) -> int:
        return sum(bucket.bytes for bucket in self.buckets.values())

    def _let_go(self, shape: Shape) -> None:
        bucket = self.buckets.pop(shape)
        self._turn.pop(bucket, None)
        for key in [key for key in self._under_way if key[0] is bucket]:
            self._under_way.pop(key).finish()
        del bucket
        if self.snapshot.device.type == "cuda":
            torch.cuda.empty_cache()


def said_alone(snapshot: Snapshot) -> str | None:
    """Why a model's requests cannot go in fixed shapes; None where they can."""
    kind: type[Any] = type(snapshot.model)
    # Not inherited: what a subclass reads is its own matter.
    return None if vars(kind).get("FIXED_SHAPES") else f"{kind.__name__} does not set FIXED_SHAPES"
