"""Measured spreads on a grid, and the interpolation between them.

A cell keeps sorted samples in seconds; its quantile function joins them by straight lines.
Between grid points the quantile functions are mixed at equal probability u, linearly in
log(1 + history), log(batch) and candidates. So a lookup is exact at a grid point, monotone
between two of them, and keeps the whole spread. (log(1 + h) is log h where it matters and has
room for the empty history.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import log, log1p

Axis = tuple[str, Callable[[float], float]]

HISTORY: Axis = ("history", log1p)
CANDIDATES: Axis = ("candidates", float)
BATCH: Axis = ("batch", log)


def quantile(samples: Sequence[float], u: float) -> float:
    """The samples' quantile at probability u: sorted samples joined by straight lines.

    Args:
        samples: sorted, at least 2.
        u: in [0, 1].
    """
    x = u * (len(samples) - 1)
    i = min(int(x), len(samples) - 2)
    low = samples[i]
    return low + (x - i) * (samples[i + 1] - low)


def mean(samples: Sequence[float]) -> float:
    """Mean of a draw from `quantile`, by the trapezoid rule (exact for straight pieces)."""
    return (sum(samples) - 0.5 * (samples[0] + samples[-1])) / (len(samples) - 1)


@dataclass(frozen=True, slots=True)
class Mixture:
    """A point's spread: its corners' quantile functions and their weights, which sum to 1."""

    corners: tuple[tuple[float, tuple[float, ...]], ...]
    clamped: bool  # the point lay outside the grid and was moved to its edge

    def quantile(self, u: float) -> float:
        """Seconds at probability u."""
        total = 0.0
        for weight, samples in self.corners:
            # `quantile`, written out: this is the simulator's most frequent lookup.
            x = u * (len(samples) - 1)
            i = int(x)
            low = samples[i]
            if x != i:
                low += (x - i) * (samples[i + 1] - low)
            total += weight * low
        return total

    def mean(self) -> float:
        """Mean seconds."""
        return sum(weight * mean(samples) for weight, samples in self.corners)


class Grid:
    """Spreads on a full rectangular grid of one to three axes.

    Args:
        axes: name and scale of each coordinate.
        cells: sorted samples, s, by coordinates.

    Raises:
        ValueError: the cells do not fill a rectangle, or there are none.
    """

    def __init__(self, axes: Sequence[Axis], cells: Mapping[tuple[int, ...], Sequence[float]]) -> None:
        if not cells:
            raise ValueError("Found a grid without cells, expected at least one. Measure it.")
        self.axes = tuple(axes)
        self.points = tuple(sorted({key[a] for key in cells}) for a in range(len(self.axes)))
        missing = [key for key in product(*self.points) if key not in cells]
        if missing:
            names = ", ".join(name for name, _ in self.axes)
            raise ValueError(
                f"Found no samples at ({names}) = {missing[0]} and {len(missing) - 1} other points, expected "
                "every combination of the grid's values. Measure the missing points."
            )
        self._cells = {key: tuple(float(s) for s in samples) for key, samples in cells.items()}
        self._scaled = tuple(
            tuple(scale(p) for p in points) for (_, scale), points in zip(self.axes, self.points, strict=True)
        )

    def sides(self, axis: int, value: float) -> tuple[tuple[int, float], ...]:
        """A coordinate's neighbours: places among the axis's points, with shares that sum to 1.

        One at a measured value; outside the grid, its nearest edge.
        """
        points, scaled, scale = self.points[axis], self._scaled[axis], self.axes[axis][1]
        inside = min(max(value, points[0]), points[-1])
        upper = min(bisect_right(points, inside), len(points) - 1)
        lower = max(upper - 1, 0)
        if points[upper] <= inside or lower == upper:
            return ((upper, 1.0),)
        if points[lower] == inside:
            return ((lower, 1.0),)
        share = (scale(inside) - scaled[lower]) / (scaled[upper] - scaled[lower])
        return ((lower, 1.0 - share), (upper, share))

    def outside(self, axis: int, value: float) -> bool:
        """Whether a coordinate lies beyond what was measured."""
        return not self.points[axis][0] <= value <= self.points[axis][-1]

    def at(self, *point: float) -> Mixture:
        """The spread at a point; outside the grid, that of its nearest edge, marked as clamped."""
        corners = []
        for combination in product(*(self.sides(axis, value) for axis, value in enumerate(point))):
            weight = 1.0
            for _, share in combination:
                weight *= share
            key = tuple(self.points[axis][place] for axis, (place, _) in enumerate(combination))
            corners.append((weight, self._cells[key]))
        return Mixture(tuple(corners), any(self.outside(axis, value) for axis, value in enumerate(point)))

    def samples(self) -> list[tuple[float, ...]]:
        """Every cell's samples, in the order of the points, the last axis fastest."""
        return [self._cells[key] for key in product(*self.points)]

    def envelope(self) -> dict[str, tuple[int, int]]:
        """Least and greatest measured value of each axis."""
        return {name: (p[0], p[-1]) for (name, _), p in zip(self.axes, self.points, strict=True)}
