"""A batch of fixed shape: histories already laid out as (B, L), whatever their lengths.

A jagged batch has as many behaviours as its histories, so every batch has shapes of its own and the host must
know them. Here they depend on B and L alone, which is what a captured training step needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NoReturn

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

    def _select(self, keep: Tensor) -> NoReturn:
        raise _shapeless()


def _shapeless() -> ValueError:
    return ValueError(
        "the model lays out or chooses behaviours by what they are, which has no fixed shape, expected one "
        "that reads histories whole by `align`. Train it with fast = false."
    )
