"""A profile that is measured in parts, as where a machine is lent for minutes. Start at `joined`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from simulator.serving.profile import Machine, Point, ProfileError, ServiceProfile, from_measured


def joined(first: ServiceProfile, second: ServiceProfile) -> ServiceProfile:
    """One profile of two parts of a measurement: each cell's samples of the first, then those of the second.

    P50 and P95 of the thread's CPU time, which a cell that was put together from others has none of, are the
    parts', weighted by their samples. The date is the second's.

    Raises:
        ProfileError: another machine, other versions, other cells, or an order of samples that is not known.
    """
    check_same_machine(first, second.machine, second.versions)
    check_same_cells(first, second.places)
    wall = {
        place: {point: first.measured(place, point) + second.measured(place, point) for point in cells}
        for place, cells in first.places.items()
    }
    cpu: dict[str, dict[Point, tuple[float, float]]] = {}
    for place, cells in first.cpu_s.items():
        for point in cells.keys() & second.cpu_s.get(place, {}).keys():
            share = len(first.places[place][point]) / len(wall[place][point])
            parts = zip(cells[point], second.cpu_s[place][point], strict=True)
            p50, p95 = (float(f"{share * a + (1.0 - share) * b:.4g}") for a, b in parts)
            cpu.setdefault(place, {})[point] = p50, p95
    commits, notes = (
        list(dict.fromkeys(both)) for both in ((first.commit, second.commit), (*first.notes, *second.notes))
    )
    commit = " and ".join(filter(None, commits))
    return from_measured(second.machine, second.versions, commit, second.date, wall, cpu, notes)


def check_same_machine(earlier: ServiceProfile, machine: Machine, versions: Mapping[str, str]) -> None:
    """Whether samples of this machine may stand beside those of an earlier profile.

    Raises:
        ProfileError: it was measured elsewhere, with other libraries, or does not know its samples' order.
    """
    here, there = (replace(m, memory_gib=float(round(m.memory_gib))) for m in (machine, earlier.machine))
    if here != there or dict(versions) != dict(earlier.versions):
        raise ProfileError(
            f"The earlier profile is of {there} with {dict(earlier.versions)}, expected this machine, {here} "
            f"with {dict(versions)}. Measure all of it on one machine."
        )
    if not earlier.order:
        raise ProfileError(
            "The earlier profile has sorted samples (schema 1), expected them in the order measured. Measure "
            "all of it anew."
        )


def check_same_cells(earlier: ServiceProfile, places: Mapping[str, Iterable[Point]]) -> None:
    """Whether a measurement has the cells of an earlier profile, no more and no fewer.

    Raises:
        ProfileError: it has others.
    """
    had, now = (
        {(place, point) for place, points in cells.items() for point in points}
        for cells in (earlier.places, places)
    )
    if other := sorted(had ^ now):
        place, point = other[0]
        raise ProfileError(
            f"{place} at {point} is in {'the earlier profile' if other[0] in had else 'this measurement'} "
            "alone, expected the same points in both. Measure with the options and the experiment that the "
            "earlier one was measured with."
        )
