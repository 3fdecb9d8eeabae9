"""Whether a profile's cells agree, and what is done where they do not. Start at `disagreements`.

A larger batch, more candidates or a longer history are never cheaper, and alone in its batch a request takes
much the same time again and again. Where a measurement says otherwise, the machine was busy meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from simulator.serving.grid import quantile
from simulator.serving.measure import kept
from simulator.serving.profile import Point, Samples, ServiceProfile, ranks_of

# How much cheaper than its smaller neighbour a cell may seem, by quantile: P50s of 400 samples repeat within
# 3 % on a quiet machine, P95s within some 15 %.
NOISE = ((0.5, 0.05), (0.95, 0.25))
TAIL = 3.0  # P95 / P50 of a batch of one, at most
_CHANGED = 2.0  # times a P50 may differ from another profile's without a word


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
                found += _wrong(place, cells, point, smaller)
            if place.startswith("score/") and point[2] == 1:
                found += _tail(place, point, samples)
    return found


def changes(before: ServiceProfile, profile: ServiceProfile) -> list[str]:
    """Cells whose P50 is more than twice another profile's, or less than half of it, in words."""
    found = []
    for place, cells in profile.places.items():
        for point in sorted(cells.keys() & before.places.get(place, {}).keys()):
            was, now = quantile(before.places[place][point], 0.5), quantile(cells[point], 0.5)
            if not was / _CHANGED <= now <= was * _CHANGED:
                times = f"{now / was:.2g} times {was * 1e3:.4g}"
                found.append(f"{place} at {point} takes {now * 1e3:.4g} ms at P50, {times}")
    return found


def smoothed(profile: ServiceProfile) -> ServiceProfile:
    """The profile with cells that disagree brought together, and a note on each pair.

    Of a cell and the smaller neighbour that it seems cheaper than, either may be the one that is wrong:
    wherever their quantiles are out of order both become their mean, until no cell disagrees. The larger of
    both would make a profile slower by its noise. The order of samples stays.
    """
    places = {place: dict(cells) for place, cells in profile.places.items()}
    notes = list(profile.notes)
    for place, cells in places.items():
        noted: set[tuple[Point, Point]] = set()
        while pairs := [
            (p, s) for p in sorted(cells) for s in _smaller(cells, p) if _wrong(place, cells, p, s)
        ]:
            for point, smaller in pairs:
                for wrong in _wrong(place, cells, point, smaller)[:1]:
                    cells[point], cells[smaller] = _together(cells[point], cells[smaller])
                    if (point, smaller) not in noted:
                        notes.append(f"smoothed: {wrong.message}")
                    noted.add((point, smaller))
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


def _wrong(place: str, cells: Mapping[Point, Samples], point: Point, smaller: Point) -> list[Disagreement]:
    """Where a cell seems cheaper than its smaller neighbour."""
    found: list[Disagreement] = []
    for q, noise in NOISE:
        one, other = quantile(cells[point], q), quantile(cells[smaller], q)
        if one < other * (1.0 - noise):
            took = f"takes {one * 1e3:.4g} ms at P{q * 100:.0f}"
            message = f"{place} at {point} {took}, less than {other * 1e3:.4g} at {smaller}"
            found.append(Disagreement(place, point, smaller, message))
    return found


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


def _together(samples: Samples, its: Samples) -> tuple[Samples, Samples]:
    """A cell and its smaller neighbour, both halfway to where they would be in order; sorted as before."""
    over, under = _at(its, len(samples)), _at(samples, len(its))
    return (
        tuple(kept((s + max(s, o)) / 2) for s, o in zip(samples, over, strict=True)),
        tuple(kept((s + min(s, u)) / 2) for s, u in zip(its, under, strict=True)),
    )


def _at(samples: Samples, count: int) -> Samples:
    """As many of the samples' quantiles."""
    if len(samples) == count:
        return samples
    return tuple(quantile(samples, i / max(count - 1, 1)) for i in range(count))
