"""A batch of fixed shape as one block of bytes: one copy moves it to the device, which lays it out.

    category (i32) | action, scene (u8, or i32) | age_s, dwell_s (f32) | end, length, candidate_count (i32)
    | ad, ad_category, position (i32) | hour, propensity (f32)

Histories stay jagged on the host: B x L places, filled from the front, and where each request's end. The
device aligns them at their newest behaviour, which saves the host a loop over requests.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from laser.aligned import AlignedBatch
from laser.attention.kernels import fusing
from laser.batch import HISTORY
from laser.models import ModelConfig
from laser.scoring.requests import Requests
from laser.scoring.shapes import Shape

_ALIGNMENT = 16  # bytes: columns of any dtype begin at a multiple of it
_CANDIDATES = ("ad", "ad_category", "position")
_SMALL = 256  # ids below fit one byte

Columns = dict[str, Tensor]


class Layout:
    """Where the columns of a shape lie in its block."""

    def __init__(self, shape: Shape, config: ModelConfig) -> None:
        self.shape = shape
        places, wide = (shape.requests * shape.history,), (shape.requests, shape.candidates)
        self._columns: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
            "category": (torch.int32, places),
            "action": (torch.uint8 if config.actions <= _SMALL else torch.int32, places),
            "scene": (torch.uint8 if config.scenes <= _SMALL else torch.int32, places),
            "age_s": (torch.float32, places),
            "dwell_s": (torch.float32, places),
            **dict.fromkeys(("end", "length", "candidate_count"), (torch.int32, wide[:1])),
            **dict.fromkeys(_CANDIDATES, (torch.int32, wide)),
            **dict.fromkeys(("hour", "propensity"), (torch.float32, wide[:1])),
        }
        self._starts, self.size = {}, 0
        self._offsets: Tensor | None = None  # of all batches, kept on their device
        for name, (dtype, size) in self._columns.items():
            self._starts[name] = self.size
            self.size += -(-int(np.prod(size)) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT

    def views(self, block: Tensor) -> Columns:
        """The columns of a (size,) block of bytes."""
        found = {}
        for name, (dtype, size) in self._columns.items():
            end = self._starts[name] + int(np.prod(size)) * dtype.itemsize
            found[name] = block[self._starts[name] : end].view(dtype).view(size)
        return found

    def aligned(self, columns: Columns) -> AlignedBatch:
        """The batch, laid out on the device; what is left from earlier batches is masked."""
        end, shape = columns["end"], self.shape
        if fusing(end):
            from laser.attention.kernels.placing import lay_out

            found = lay_out(columns, shape.history, shape.candidates)
        else:
            found = _laid_out(columns, shape.history)
        if self._offsets is None or self._offsets.device != end.device:
            self._offsets = torch.arange(shape.requests + 1, device=end.device) * shape.history
        return AlignedBatch(
            **found,
            hour=columns["hour"],
            propensity=columns["propensity"],
            offsets=self._offsets,
            longest=shape.history,
            # Neither `even` nor `full`: one computation serves every length and number of candidates.
            even=False,
            full=False,
        )


def _laid_out(columns: Columns, length: int) -> Columns:
    """The columns of a batch, each history's newest behaviour in the last of L places, and `real` (B, L)."""
    end = columns["end"].unsqueeze(1)
    place = torch.arange(-length, 0, device=end.device, dtype=torch.int32) + end
    real = place >= end - columns["length"].unsqueeze(1)
    place = place.clamp_(min=0).flatten()
    history = {name: columns[name].index_select(0, place).to(dtype) for name, dtype in HISTORY.items()}
    others = {name: columns[name].long() for name in (*_CANDIDATES, "candidate_count")}
    return history | others | {"real": real}


class Filling:
    """A block on the host that requests are written into."""

    def __init__(self, layout: Layout, pinned: bool) -> None:
        # Pinned: a copy from other memory makes the host wait for each of its parts.
        self.block = torch.zeros(layout.size, dtype=torch.uint8, pin_memory=pinned)
        self.columns = layout.views(self.block)
        self._arrays = {name: column.numpy() for name, column in self.columns.items()}

    def fill(self, requests: Requests) -> None:
        """Write at most B requests of at most L behaviours; places beyond them are empty and score -inf."""
        into, count, offsets = self._arrays, len(requests), requests.offsets
        behaviours, candidates = int(offsets[-1]), requests.candidates
        for name in HISTORY:
            into[name][:behaviours] = getattr(requests, name)
        into["end"][:count] = offsets[1:]
        np.subtract(offsets[1:], offsets[:-1], out=into["length"][:count], casting="unsafe")
        if count < len(into["end"]):
            for name in ("end", "length", "candidate_count"):
                into[name][count:] = 0
        for name in _CANDIDATES:
            into[name][:count, :candidates] = getattr(requests, name)
        for name in ("candidate_count", "hour", "propensity"):
            into[name][:count] = getattr(requests, name)
