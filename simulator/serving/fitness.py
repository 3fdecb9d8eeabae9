"""Whether a profile's cells agree, and what is done where they do not. Start at `disagreements`.

A larger batch, more candidates or a longer history are never cheaper, and alone in its batch a request takes
much the same time again and again. Where a measurement says otherwise, the machine was busy meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from simulator.serving.grid import quantile
from simulator.serving.profile import Point, Samples, ServiceProfile, ranks_of

# How much cheaper than its smaller neighbour a cell may seem, by quantile: P50s of 400 samples repeat within
# 3 % on a quiet machine, P95s within some 15 %.
NOISE = ((0.5, 0.05), (0.95, 0.25))
TAIL = 3.0  # P95 / P50 of a batch of one, at most


@dataclass(frozen=True)
class Disagreement:
    """A cell that cannot be right.

    Attributes:
        place, point: which one.
        than: the smaller cell that it seems cheaper than; None for one whose tail is too long.
        message: in a sentence.
    """

    place: str
    point: Point
    than: Point | None
    message: str


def disagreements(profile: ServiceProfile) -> list[Disagreement]:
    """Cells that seem cheaper than a smaller neighbour, and single requests with long tails, by place."""
    found: list[Disagreement] = []
    for place, cells in profile.places.items():
        for point, samples in sorted(cells.items()):
            for smaller in _smaller(cells, point):
                found += _cheaper(place, point, samples, smaller, cells[smaller])
            if place.startswith("score/") and point[2] == 1:
                found += _tail(place, point, samples)
    return found


def smoothed(profile: ServiceProfile) -> ServiceProfile:
    """The profile, every cell that seems cheaper than a smaller neighbour raised to it, with a note on each.

    Its quantiles become the larger of both; the order of its samples stays.
    """
    places = {place: dict(cells) for place, cells in profile.places.items()}
    notes = list(profile.notes)
    for place, cells in places.items():
        for point in sorted(cells):
            for smaller in _smaller(cells, point):
                for wrong in _cheaper(place, point, cells[point], smaller, cells[smaller]):
                    cells[point] = _larger(cells[point], cells[smaller])
                    notes.append(f"smoothed: {wrong.message}")
                    break
    made = replace(
        profile,
        store={key: {h: places[f"store/{key}"][h,] for h in grid} for key, grid in profile.store.items()},
        transport={h: places["transport"][h,] for h in profile.transport},
        score={
            model: cast(dict[tuple[int, int, int], Samples], places[f"score/{model}"])
            for model in profile.score
        },
        notes=tuple(notes),
    )
    # Samples that have become equal stand in the order measured, as after a file is read.
    order = {
        place: {point: ranks_of(made.measured(place, point)) for point in cells}
        for place, cells in made.order.items()
    }
    return replace(made, order=order)


def _smaller(cells: Mapping[Point, Samples], point: Point) -> Iterator[Point]:
    """The next smaller neighbour along each axis."""
    for axis in range(len(point)):
        along = [p for p in cells if p[:axis] + p[axis + 1 :] == point[:axis] + point[axis + 1 :]]
        below = [p for p in along if p[axis] < point[axis]]
        if below:
            yield max(below, key=lambda p: p[axis])


def _cheaper(
    place: str, point: Point, samples: Samples, smaller: Point, its: Samples
) -> Iterator[Disagreement]:
    for q, noise in NOISE:
        one, other = quantile(samples, q), quantile(its, q)
        if one < other * (1.0 - noise):
            took = f"takes {one * 1e3:.4g} ms at P{q * 100:.0f}"
            yield Disagreement(
                place, point, smaller, f"{place} at {point} {took}, less than {other * 1e3:.4g} at {smaller}"
            )


def _tail(place: str, point: Point, samples: Samples) -> Iterator[Disagreement]:
    p50, p95 = quantile(samples, 0.5), quantile(samples, 0.95)
    if p95 > TAIL * p50:
        yield Disagreement(
            place,
            point,
            None,
            f"{place} at {point} takes {p95 * 1e3:.4g} ms at P95, more than {TAIL:g} times its P50 of "
            f"{p50 * 1e3:.4g} ms",
        )


def _larger(samples: Samples, its: Samples) -> Samples:
    """At every quantile the larger of both, as many samples as the first has."""
    last = max(len(samples) - 1, 1)
    return tuple(max(s, quantile(its, i / last)) for i, s in enumerate(samples))
