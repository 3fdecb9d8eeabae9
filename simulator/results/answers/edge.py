"""Where along an axis something stops holding: between two simulated values, and how far the A/B can tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from simulator.results.answers.grid import Known

State = Literal["found", "always", "never", "unknown"]


@dataclass(frozen=True)
class Edge:
    """Where it stops holding.

    Attributes:
        state: found; or it always or never holds where it was simulated, or nothing is known of it.
        at: the place; None unless found.
        index: of the last point at which it holds, from the good end.
        slope: of the margin over the logarithm of the place.
    """

    state: State
    at: float | None = None
    index: int = 0
    slope: float = math.nan


@dataclass(frozen=True)
class Place:
    """An edge as the A/B tells it and as it is.

    Attributes:
        told, true: the edges.
        ci: what the interval over users leaves open, ascending; None where no simulated value bounds it.
        true_se: the true edge's standard error.
    """

    told: Edge
    true: Edge
    ci: tuple[float | None, float | None]
    true_se: float | None


def place(xs: Sequence[float], margins: Sequence[Known], holds: Callable[[float], bool]) -> Place:
    """Where a margin stops holding.

    Args:
        xs: above 0, ordered from the good end.
        margins: by place: how much there is to spare.
        holds: whether so much to spare is enough.
    """
    told = edge(xs, [margin.value for margin in margins], holds)
    true = edge(xs, [margin.true for margin in margins], holds)
    ends = [edge(xs, [m.ends[end] for m in margins], holds).at for end in (0, 1)]
    low, high = ends if xs[0] <= xs[-1] else ends[::-1]
    return Place(told, true, (low, high), _error(true, margins))


def edge(xs: Sequence[float], margins: Sequence[float | None], holds: Callable[[float], bool]) -> Edge:
    """The first place, from the good end, at which a margin no longer holds.

    Between two simulated values the margin runs straight over the logarithm of the place.
    """
    known = [
        (x, margin, i) for i, (x, margin) in enumerate(zip(xs, margins, strict=True)) if margin is not None
    ]
    if not known:
        return Edge("unknown")
    if not holds(known[0][1]):
        return Edge("never")
    for (x, margin, index), (further, less, _) in pairwise(known):
        if not holds(less):
            slope = (less - margin) / math.log(further / x)
            return Edge("found", x * math.exp(-margin / slope), index, slope)
    return Edge("always", index=known[-1][2])


def _error(true: Edge, margins: Sequence[Known]) -> float | None:
    """By the delta method, from the errors of the margins on either side."""
    if true.at is None:
        return None
    errors = [m.true_se for m in margins[true.index : true.index + 2]]
    known = [error for error in errors if error is not None]
    return true.at * max(known) / abs(true.slope) if known else None
