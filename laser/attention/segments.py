"""Which behaviours make a segment: windows of one width, or wider ones the older they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from laser.errors import ModelError


@dataclass(frozen=True)
class Segments:
    """How a history is cut, counted from its newest behaviour; only the oldest segment may be partly filled.

    A behaviour's segment depends on how many are newer and on nothing else, so that a history has the same
    tokens however far its batch is padded in front.

    Attributes:
        width: behaviours in the newest segment.
        double_every: segments of a width, after which the next older ones are twice as wide: n of w, then n
            of 2 w, n of 4 w and so on. None: all are w wide.
        mean: what a wider segment sums counts as one of `width` behaviours would.

    Raises:
        ValueError: double_every is no positive whole number.
    """

    width: int
    double_every: int | None = None
    mean: bool = False

    def __post_init__(self) -> None:
        every = self.double_every
        if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
            raise ModelError(
                f"double_every is {every!r}, expected a whole number of 1 or more, or null for one width."
            )

    def padded(self, longest: int) -> int:
        """Behaviours that whole segments hold, the fewest for a history this long; at least one segment."""
        return sum(width * count for width, count in self._newest_first(longest))

    def runs(self, length: int) -> list[tuple[int, int]]:
        """(width, behaviours) of each run of equally wide segments, oldest first.

        Args:
            length: L, as `padded` gives it.
        """
        return [(width, width * count) for width, count in self._newest_first(length)][::-1]

    def each(
        self, real: Tensor | None, *columns: Tensor
    ) -> Iterator[tuple[int, Tensor | None, tuple[Tensor, ...]]]:
        """Width, mask and columns of each run, oldest first; views, no copies.

        Args:
            real: (B, L) bool, None if nothing is padded.
            columns: (..., L, K) each.
        """
        runs = self.runs(columns[0].shape[-2])
        lengths = [length for _, length in runs]
        masks = [None] * len(runs) if real is None else torch.split(real, lengths, dim=1)
        # One split and not a slice each: its gradient is one concatenation.
        cut = zip(*(torch.split(column, lengths, dim=-2) for column in columns), strict=True)
        for (width, _), mask, pieces in zip(runs, masks, cut, strict=True):
            yield width, mask, pieces

    def evened(self, sums: Tensor, width: int) -> Tensor:
        """The sums over segments of a width, divided by how many times wider than the newest one they are, if
        `mean` says so."""
        return sums * (self.width / width) if self.mean and width > self.width else sums

    def filled(self, real: Tensor) -> Tensor:
        """(B, S) bool, the segments that hold any behaviour; `real` is (B, L) bool."""
        runs = self.each(None, real.unsqueeze(2))
        return side_by_side([run.view(len(real), -1, width).any(dim=2) for width, _, (run,) in runs])

    def _newest_first(self, longest: int) -> Iterator[tuple[int, int]]:
        """(width, segments) of each run."""
        left, width = max(longest, 1), self.width
        while left > 0:
            count = -(-left // width)
            if self.double_every is not None:
                count = min(count, self.double_every)
            yield width, count
            left -= width * count
            width *= 2


def side_by_side(parts: list[Tensor]) -> Tensor:
    """(B, S, ...): what was made of each run, segments oldest first."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
