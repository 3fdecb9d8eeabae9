"""Where a training's batches come from: examples on the host, or examples that live on the device.

On a GPU a step takes milliseconds, and gathering its batch on the host and copying it takes longer. With the
examples on the device only row numbers and lengths travel.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laser.batch import RankingBatch
from laser.examples import ExampleSet

Rows = NDArray[np.int64]


class Source(Protocol):
    """Batches of examples on one device."""

    examples: ExampleSet

    def batch(self, rows: Rows, length: int) -> RankingBatch:
        """What a model sees of some requests, as `ExampleSet.batch` says."""

    def clicks(self, rows: Rows) -> Tensor:
        """(B, C) float32, their labels."""


class HostSource:
    """Gathers on the host, copies to the device."""

    def __init__(self, examples: ExampleSet, device: torch.device) -> None:
        self.examples, self.device = examples, device

    def batch(self, rows: Rows, length: int) -> RankingBatch:
        """See `Source.batch`."""
        made = self.examples.batch(rows, length)
        return made if self.device.type == "cpu" else made.to(self.device)

    def clicks(self, rows: Rows) -> Tensor:
        """See `Source.clicks`."""
        return torch.from_numpy(self.examples.label[rows].astype(np.float32)).to(self.device)


class DeviceSource:
    """Keeps all examples on the device and gathers there: the same batches as `HostSource`, bit for bit.

    A behaviour takes 16 bytes: its time, and category, action, scene and dwell time packed into one integer
    of 64 bits, each in as many bits as its largest value needs.

    Raises:
        ValueError: the packed columns need more than 63 bits.
    """

    def __init__(self, examples: ExampleSet, device: torch.device) -> None:
        self.examples, self.device = examples, device
        self.shifts: dict[str, tuple[int, int]] = {}
        self.packed = torch.from_numpy(self._pack()).to(device)
        self.time_s = torch.from_numpy(examples.time_s.astype(np.int64)).to(device)
        shown = examples.shown
        columns: dict[str, NDArray[Any]] = {
            "ad": np.where(shown, examples.ad, 0).astype(np.int64),
            "ad_category": np.where(shown, examples.ad_category, 0).astype(np.int64),
            "position": examples.position.astype(np.int64),
            "candidate_count": shown.sum(1),
            "hour": examples.hour.astype(np.float32),
            "propensity": examples.propensity.astype(np.float32),
            "request_time_s": examples.request_time_s.astype(np.float64),
            "label": examples.label.astype(np.float32),
        }
        self.columns = {name: torch.from_numpy(column).to(device) for name, column in columns.items()}
        self.counts = columns["candidate_count"]
        _check_finite(columns)

    def _pack(self) -> NDArray[np.int64]:
        packed = np.zeros(len(self.examples.category), np.int64)
        used = 0
        for name in ("category", "action", "scene", "dwell_s"):
            column = getattr(self.examples, name).astype(np.int64)
            bits = int(column.max()).bit_length() if len(column) else 0
            if used + bits > 63 or (len(column) and column.min() < 0):
                raise ValueError(
                    f"{name} does not fit the {63 - used} bits left for it, expected ids and seconds of 0 or "
                    "more, 63 bits together. Train with resident = false."
                )
            packed |= column << used
            self.shifts[name] = used, (1 << bits) - 1
            used += bits
        return packed

    def batch(self, rows: Rows, length: int) -> RankingBatch:
        """See `Source.batch`.

        Raises:
            ValueError: length is negative.
        """
        if length < 0:
            raise ValueError(f"length is {length}, expected 0 or more. Pass the behaviours to keep.")
        end = self.examples.history_end[rows].astype(np.int64)
        lengths = np.minimum(end - self.examples.history_start[rows], length)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        total, longest = int(offsets[-1]), int(lengths.max()) if len(rows) else 0
        # One copy for all that the host knows: rows, lengths, where each history's places start.
        sent = torch.from_numpy(np.stack([rows, lengths, end - offsets[1:]])).to(self.device)
        chosen, counts, shift = sent[0], sent[1], sent[2]
        owner = torch.arange(len(rows), device=self.device).repeat_interleave(counts, output_size=total)
        place = torch.arange(total, device=self.device) + shift[owner]
        word = self.packed[place]
        history = {name: (word >> by) & mask for name, (by, mask) in self.shifts.items()}
        request = {name: column[chosen] for name, column in self.columns.items() if name != "label"}
        age_s = request.pop("request_time_s")[owner] - self.time_s[place]
        return RankingBatch(
            category=history["category"],
            action=history["action"],
            scene=history["scene"],
            age_s=age_s.to(torch.float32),
            dwell_s=history["dwell_s"].to(torch.float32),
            offsets=torch.from_numpy(offsets).to(self.device),
            longest=longest,
            even=bool((lengths == longest).all()),
            full=bool((self.counts[rows] == self.examples.candidates).all()),
            **request,
        )

    def clicks(self, rows: Rows) -> Tensor:
        """See `Source.clicks`."""
        return self.columns["label"][torch.from_numpy(rows).to(self.device)]


def _check_finite(columns: dict[str, NDArray[Any]]) -> None:
    """What `RankingBatch.from_numpy` refuses in a batch is refused once, for all of them."""
    for name in ("hour", "propensity", "request_time_s"):
        if not np.isfinite(columns[name]).all():
            raise ValueError(f"{name} holds a value that is not finite, expected numbers. Fill it first.")
