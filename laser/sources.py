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

from laser.aligned import AlignedBatch
from laser.batch import RankingBatch
from laser.examples import ExampleSet

Rows = NDArray[np.int64]

_CHUNK = 1 << 26  # behaviours packed at a time


class Source(Protocol):
    """Batches of examples on one device.

    Attributes:
        counts: (R,) candidates of each request.
    """

    examples: ExampleSet
    counts: Rows

    def batch(self, rows: Rows, length: int) -> RankingBatch:
        """What a model sees of some requests, as `ExampleSet.batch` says."""

    def clicks(self, rows: Rows) -> Tensor:
        """(B, C) float32, their labels."""


class HostSource:
    """Gathers on the host, copies to the device."""

    def __init__(self, examples: ExampleSet, device: torch.device) -> None:
        self.examples, self.device = examples, device
        self.counts = examples.shown.sum(1)

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

    def __init__(self, examples: ExampleSet, device: torch.device, over: DeviceSource | None = None) -> None:
        self.examples, self.device = examples, device
        self.shifts: dict[str, tuple[int, int]] = {}
        self.packed: Tensor
        self.time_s: Tensor
        if over is not None and over.examples.category is examples.category and over.device == device:
            self.shifts, self.packed, self.time_s = over.shifts, over.packed, over.time_s
        else:
            self.packed = self._pack()
            self.time_s = self._sent(examples.time_s)
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
        self.ends = torch.from_numpy(examples.history_end.astype(np.int64)).to(device)
        self.starts = torch.from_numpy(examples.history_start.astype(np.int64)).to(device)
        _check_finite(columns)

    def _pack(self) -> Tensor:
        packed = torch.zeros(len(self.examples.category), dtype=torch.int64, device=self.device)
        used = 0
        for name in ("category", "action", "scene", "dwell_s"):
            column = getattr(self.examples, name)
            most, least = (int(column.max()), int(column.min())) if len(column) else (0, 0)
            bits = most.bit_length()
            if used + bits > 63 or least < 0:
                raise ValueError(
                    f"{name} does not fit the {63 - used} bits left for it, expected ids and seconds of 0 or "
                    "more, 63 bits together. Train with resident = false."
                )
            for start in range(0, len(column), _CHUNK):  # no second copy of all behaviours in 8 bytes each
                part = self._sent(column[start : start + _CHUNK])
                packed[start : start + _CHUNK] |= part << used
            self.shifts[name] = used, (1 << bits) - 1
            used += bits
        return packed

    def _sent(self, column: NDArray[Any]) -> Tensor:
        """A column on the device as int64, travelling at the width that it has."""
        signed = column.view(np.int16) if column.dtype == np.uint16 else column
        if signed.dtype not in (np.uint8, np.int8, np.int16, np.int32, np.int64):
            signed = column.astype(np.int64)
        sent = torch.from_numpy(np.ascontiguousarray(signed)).to(self.device).to(torch.int64)
        return sent & 0xFFFF if column.dtype == np.uint16 else sent

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

    def aligned(self, rows: Tensor, length: Tensor, width: int) -> tuple[AlignedBatch, Tensor]:
        """The batch of some requests in `width` places each, and its labels; the host learns nothing of it.

        Args:
            rows: (B,) int64 on the device; -1 is no request: it comes without candidates.
            length: (1,) int64 on the device, newest behaviours to keep, at most `width`.
        """
        there, chosen = rows >= 0, rows.clamp(min=0)
        end = self.ends[chosen].unsqueeze(1)
        first = torch.maximum(self.starts[chosen].unsqueeze(1), end - length)
        place = torch.arange(-width, 0, device=self.device) + end
        real = place >= first
        place = place.clamp_(min=0).flatten()
        word = self.packed[place]
        history = {name: (word >> by) & mask for name, (by, mask) in self.shifts.items()}
        request = {name: column[chosen] for name, column in self.columns.items()}
        request["candidate_count"] = request["candidate_count"] * there
        age_s = request.pop("request_time_s").unsqueeze(1) - self.time_s[place].view(real.shape)
        clicks = request.pop("label")
        batch = AlignedBatch(
            category=history["category"],
            action=history["action"],
            scene=history["scene"],
            age_s=age_s.to(torch.float32).flatten(),
            dwell_s=history["dwell_s"].to(torch.float32),
            offsets=torch.arange(len(rows) + 1, device=self.device) * width,
            longest=width,
            even=False,
            full=False,
            real=real,
            **request,
        )
        return batch, clicks


def _check_finite(columns: dict[str, NDArray[Any]]) -> None:
    """What `RankingBatch.from_numpy` refuses in a batch is refused once, for all of them."""
    for name in ("hour", "propensity", "request_time_s"):
        if not np.isfinite(columns[name]).all():
            raise ValueError(f"{name} holds a value that is not finite, expected numbers. Fill it first.")
