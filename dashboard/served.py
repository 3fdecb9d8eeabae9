"""The requests that the latency page is about, read so that a long table is never held whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """The chosen rows of one row group."""

    _file: pq.ParquetFile
    _group: int
    _mine: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self._mine.sum())

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of these rows."""
        found = self._file.read_row_group(self._group, list(columns))
        return found if self._mine.all() else found.filter(self._mine)


def parts_by_arm(served: pq.ParquetFile, *, assigned: bool) -> dict[str, list[Part]]:
    """Where each arm's requests of the experiment period are; nowhere for an arm that has none.

    Args:
        served: the served table.
        assigned: only requests the A/B gave to the arm; else the whole trace under each arm.
    """
    parts: dict[str, list[Part]] = {}
    for group in range(served.num_row_groups):
        found = served.read_row_group(group, ["arm", "assigned", "period"])
        keep = pc.equal(found["period"], "experiment").to_numpy()
        keep = keep & found["assigned"].to_numpy() if assigned else keep
        for arm in found["arm"].unique().to_pylist():
            part = Part(served, group, keep & pc.equal(found["arm"], arm).to_numpy())
            parts.setdefault(arm, []).extend([part] if len(part) else [])
    return parts


class Spent:
    """Mean and P99 of numbers that come in parts: of these only the largest are kept."""

    def __init__(self, most: int) -> None:
        """Nothing yet.

        Args:
            most: how many will come at most.
        """
        self._most = math.ceil(most / 100) + 2  # of the largest, what a P99 can lie between
        self._least = -math.inf
        self._largest = np.empty(0)
        self._sum = 0.0
        self.n = 0

    def add(self, values: Floats) -> None:
        """Count more numbers; NaN is none."""
        values = values[~np.isnan(values)]
        self.n += len(values)
        self._sum += float(values.sum())
        self._largest = np.concatenate([self._largest, values[values > self._least]])
        if len(self._largest) > 2 * self._most:
            self._largest = np.partition(self._largest, -self._most)[-self._most :]
            self._least = float(self._largest[0])

    @property
    def mean(self) -> float:
        """Of all that came, at least one."""
        return self._sum / self.n

    @property
    def p99(self) -> float:
        """Of all that came, at least one; between two of them in proportion, as NumPy has it."""
        at = 0.99 * (self.n - 1)
        ranks = np.arange(self.n - len(self._largest), self.n)
        return float(np.interp(at, ranks, np.sort(self._largest)))
