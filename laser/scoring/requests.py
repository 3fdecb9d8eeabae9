"""Requests as they lie on the host: arrays of whatever width they came in, checked once, copied once.

A `RankingBatch` has 40 bytes for each behaviour; stores have 16, a scorer's block 14. At a hundred thousand
requests per second the conversion between them would take longer than scoring.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laser.batch import HISTORY, RankingBatch
from laser.models import ModelConfig
from laser.scoring.limits import check_limits

Column = NDArray[Any]


@dataclass(frozen=True)
class Requests:
    """R requests; the columns of `RankingBatch`, integers and floats of any width.

    Attributes:
        category, action, scene, age_s, dwell_s: (N,), oldest behaviour first within a request.
        offsets: (R + 1,); request r owns behaviours offsets[r] to offsets[r + 1] - 1.
        ad, ad_category, position: (R, C). candidate_count: (R,), candidates at the front of a row.
        hour, propensity: (R,).

    Raises:
        ValueError: shapes disagree, or offsets do not partition the behaviours.
    """

    category: Column
    action: Column
    scene: Column
    age_s: Column
    dwell_s: Column
    offsets: Column
    ad: Column
    ad_category: Column
    position: Column
    candidate_count: Column
    hour: Column
    propensity: Column

    def __post_init__(self) -> None:
        requests, behaviours = len(self.ad), self.category.shape
        expected = {
            **dict.fromkeys(HISTORY, behaviours),
            **dict.fromkeys(("ad", "ad_category", "position"), self.ad.shape),
            **dict.fromkeys(("candidate_count", "hour", "propensity"), (requests,)),
            "offsets": (requests + 1,),
        }
        for name, shape in expected.items():
            if (found := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} has shape {found}, expected {shape}. Cut all columns alike.")
        if self.offsets[0] != 0 or self.offsets[-1] != behaviours[0] or (self.lengths < 0).any():
            raise ValueError(
                f"offsets run from {self.offsets[0]} to {self.offsets[-1]} over {behaviours[0]} behaviours, "
                "expected a non-decreasing run from 0 to their number. Rebuild them from the lengths."
            )

    @classmethod
    def of(cls, batch: RankingBatch) -> Requests:
        """The columns of a batch on the CPU, not copied."""
        return cls(**{column.name: getattr(batch, column.name).numpy() for column in fields(cls)})

    def __len__(self) -> int:
        return len(self.ad)

    @property
    def candidates(self) -> int:
        """C."""
        return int(self.ad.shape[1])

    @property
    def lengths(self) -> Column:
        """(R,) behaviours of each request."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64], longest: int) -> Requests:
        """Some requests, each with its newest `longest` behaviours; views where nothing moves."""
        ends = self.offsets[1:][rows].astype(np.int64)
        lengths = np.minimum(self.lengths[rows], longest)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        first = ends - lengths
        at: slice | NDArray[np.int64]
        if len(rows) and (ends[:-1] == first[1:]).all():
            at = slice(int(first[0]), int(ends[-1]))
        else:
            at = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths)
        columns = {name: getattr(self, name)[at] for name in HISTORY}
        own: slice | NDArray[np.int64] = rows
        if len(rows) and (np.diff(rows) == 1).all():
            own = slice(int(rows[0]), int(rows[-1]) + 1)
        others = {c.name: getattr(self, c.name)[own] for c in fields(self) if c.name not in HISTORY}
        return replace(self, **others | columns | {"offsets": offsets})

    def part(self, first: int, end: int) -> Requests:
        """Requests `first` to `end` - 1, nothing copied."""
        bounds = self.offsets[first : end + 1]
        behaviours = slice(int(bounds[0]), int(bounds[-1]))
        columns = {name: getattr(self, name)[behaviours] for name in HISTORY}
        others = {c.name: getattr(self, c.name)[first:end] for c in fields(self) if c.name not in HISTORY}
        return replace(self, **others | columns | {"offsets": bounds - bounds[0]})

    def batch(self) -> RankingBatch:
        """The same as a model reads them, whatever their shapes."""
        return RankingBatch.from_numpy(**{column.name: getattr(self, column.name) for column in fields(self)})

    def check(self, config: ModelConfig) -> None:
        """Refuse values that the model cannot read.

        Raises:
            ScoreError: an id has no row in the model, an age is negative or not finite, an hour or a
                propensity is not finite, or a candidate_count lies outside [0, C].
        """
        check_limits(config, self.candidates, lambda name: _ends(getattr(self, name)))


def _ends(values: Column) -> tuple[Any, Any]:
    """Least and largest; both 0 of nothing."""
    if not values.size:
        return 0, 0
    return (0 if values.dtype.kind == "u" else values.min()), values.max()


def runs(count: int, size: int) -> Iterator[tuple[int, int]]:
    """(first, end) of runs of at most `size`."""
    for first in range(0, count, size):
        yield first, min(first + size, count)
