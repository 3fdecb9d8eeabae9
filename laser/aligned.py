"""A batch of fixed shape: histories already laid out as (B, L), whatever their lengths.

A jagged batch has as many behaviours as its histories, so every batch has shapes of its own and the host must
know them. Here they depend on B and L alone, which is what a captured graph needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from laser.batch import HISTORY, RankingBatch


@dataclass(frozen=True)
class AlignedBatch(RankingBatch):
    """Every request owns `longest` places, the newest behaviour in the last; places in front may be empty.

    Attributes:
        real: (B, L) bool, False where a place is empty. Columns hold any valid id there.
    """

    real: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.bool))

    @property
    def lengths(self) -> Tensor:
        """Refused: who lays out behaviours by it has shapes that depend on the histories.

        Raises:
            ValueError: always.
        """
        raise _shapeless()

    def align(self, values: Tensor, multiple: int = 1) -> Tensor:
        """See `RankingBatch.align`."""
        width = max(-(-self.longest // multiple), 1) * multiple
        rows = values.view(self.real.shape).masked_fill(~self.real, 0)
        return torch.nn.functional.pad(rows, (width - self.longest, 0)) if width > self.longest else rows

    def newest(self, length: int) -> AlignedBatch:
        """Keep the newest `length` behaviours of each request."""
        if length < 0:
            raise ValueError(f"length is {length}, expected 0 or more. Pass the behaviours to keep.")
        if length >= self.longest:
            return self
        first = self.longest - length
        columns = {name: getattr(self, name).view(self.real.shape)[:, first:].reshape(-1) for name in HISTORY}
        offsets = torch.arange(self.requests + 1, device=self.real.device) * length
        return replace(self, **columns, offsets=offsets, longest=length, real=self.real[:, first:])

    def older(self, age_s: Tensor) -> AlignedBatch:
        """Keep the behaviours of at least an age.

        Args:
            age_s: (B,) seconds, one bound for each request.
        """
        return self._select((self.age_s.view(self.real.shape) >= age_s.unsqueeze(1)).flatten())

    def _select(self, keep: Tensor) -> AlignedBatch:
        kept = keep.view(self.real.shape) & self.real
        # What is left moves up to the newest end; a stable sort keeps its order.
        order = kept.to(torch.uint8).argsort(dim=1, stable=True)
        columns = {
            name: getattr(self, name).view(self.real.shape).gather(1, order).flatten() for name in HISTORY
        }
        return replace(self, **columns, real=kept.gather(1, order))


def _shapeless() -> ValueError:
    return ValueError(
        "the model lays out behaviours by the lengths of their histories, which has no fixed shape, expected "
        "one that reads them by `align`. Train it with fast = false."
    )
