"""A service-time profile: what the stages took on a machine, with the whole spread kept.

One JSON file, seconds throughout:

    {"schema_version": 2, "date": "2025-01-31", "commit": "...",
     "machine": {"cpu": "...", "cores": 2, "memory_gib": 8.0, "gpu": null},
     "versions": {"python": "3.11.9", ...},
     "notes": ["what was smoothed, or put together from other samples", ...],
     "store":     {STORE: {HISTORY: [seconds in the order measured, at least 100]}},
     "transport": {HISTORY: [...]},
     "score":     {MODEL: {HISTORY: {CANDIDATES: {BATCH: [...]}}}},
     "cpu":       {"store": ..., "transport": ..., "score": ...}: [P50, P95] of the thread's CPU seconds}

In the order measured, ten samples in a row are a visit (`measure.py`), and a stretch of slowness is a stretch
in the file. Schema 1, which is still read, has the same samples sorted, neither "notes" nor "cpu".

Start reading at `load`; `measure.py` takes the samples, `fitness.py` says whether they agree.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from simulator.errors import SimulatorError
from simulator.results.beside.profiles import cells as cells_of
from simulator.results.files import write_new
from simulator.serving.grid import BATCH, CANDIDATES, HISTORY, Grid

SCHEMA_VERSION = 2
_SORTED_SCHEMA = 1
# Below a hundred samples a P99 is the maximum.
MIN_SAMPLES = 100

VISIT = 10  # samples of a cell taken in a row

Samples = tuple[float, ...]
Point = tuple[int, ...]
T = TypeVar("T")


class ProfileError(SimulatorError):
    """A service-time profile that is missing, damaged or lacks what was asked of it."""


@dataclass(frozen=True)
class Machine:
    """Where a profile was measured."""

    cpu: str
    cores: int
    memory_gib: float
    gpu: str | None


@dataclass(frozen=True)
class ServiceProfile:
    """Measured spreads of every stage; see the module for the file's form.

    Args:
        machine: where it was measured.
        versions: of Python and the libraries at work.
        commit: of this project.
        date: ISO date of the measurement.
        store: sorted seconds by store key and history.
        transport: sorted seconds by history.
        score: sorted seconds by model, then (history, candidates, batch).
        order: by place ("store/KEY", "transport", "score/MODEL") and point: where in the sorted samples those
            stand that were measured first, second and so on. Empty where that is not known.
        cpu_s: likewise: P50 and P95 of the thread's own CPU time.
        notes: what was done to samples after they were measured.

    Raises:
        ProfileError: too few samples, unsorted or negative seconds, or a grid with holes.
    """

    machine: Machine
    versions: Mapping[str, str]
    commit: str
    date: str
    store: Mapping[str, Mapping[int, Samples]]
    transport: Mapping[int, Samples]
    score: Mapping[str, Mapping[tuple[int, int, int], Samples]]
    order: Mapping[str, Mapping[Point, tuple[int, ...]]] = field(default_factory=dict)
    cpu_s: Mapping[str, Mapping[Point, tuple[float, float]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        validate(self)

    @cached_property
    def transport_grid(self) -> Grid:
        """Transport over history."""
        return Grid([HISTORY], {(h,): s for h, s in self.transport.items()})

    def store_grid(self, key: str) -> Grid:
        """A store's reads over history.

        Raises:
            ProfileError: the profile lacks this store.
        """
        place = f"store/{key}"
        if place not in self._grids:
            cells = _entry(self.store, key, "store").items()
            self._grids[place] = Grid([HISTORY], {(h,): s for h, s in cells})
        return self._grids[place]

    def score_grid(self, model: str) -> Grid:
        """A model's scoring over history, candidates and batch.

        Raises:
            ProfileError: the profile lacks this model.
        """
        place = f"score/{model}"
        if place not in self._grids:
            cells = cast(Mapping[tuple[int, ...], Samples], _entry(self.score, model, "model"))
            self._grids[place] = Grid([HISTORY, CANDIDATES, BATCH], cells)
        return self._grids[place]

    @cached_property
    def _grids(self) -> dict[str, Grid]:
        """Those that were asked for, by place: what-if questions ask again and again."""
        return {}

    @property
    def places(self) -> dict[str, dict[Point, Samples]]:
        """All sorted samples: by place and point."""
        found: dict[str, dict[Point, Samples]] = {
            f"store/{key}": {(h,): s for h, s in by_history.items()} for key, by_history in self.store.items()
        }
        found["transport"] = {(h,): s for h, s in self.transport.items()}
        for model, cells in self.score.items():
            found[f"score/{model}"] = dict(cells.items())
        return found

    def measured(self, place: str, point: Point) -> Samples:
        """A cell's samples in the order measured, or sorted where that is not known."""
        samples = self.places[place][point]
        order = self.order.get(place, {}).get(point)
        return samples if order is None else tuple(samples[i] for i in order)

    def envelope(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Measured range of every axis, by "store/KEY", "transport" and "score/MODEL"."""
        ranges = {f"store/{k}": self.store_grid(k).envelope() for k in self.store}
        ranges["transport"] = self.transport_grid.envelope()
        ranges |= {f"score/{m}": self.score_grid(m).envelope() for m in self.score}
        return ranges


def _entry(table: Mapping[str, T], key: str, what: str) -> T:
    if key not in table:
        raise ProfileError(
            f"The profile has no {what} {key!r}, found {sorted(table)}. Measure it with `laser-ab profile`, "
            "or choose one of those."
        )
    return table[key]


def validate(profile: ServiceProfile) -> None:
    """Check a profile's grids.

    Raises:
        ProfileError: see `ServiceProfile`.
    """
    cells: dict[str, Mapping[Any, Samples]] = {f"store {k!r}": v for k, v in profile.store.items()}
    cells["transport"] = profile.transport
    cells |= {f"score {k!r}": v for k, v in profile.score.items()}
    for place, grid in cells.items():
        for point, samples in grid.items():
            _check_samples(f"{place} at {point}", samples)
    for place, by_history in {**profile.store, "transport": profile.transport}.items():
        if any(h < 0 for h in by_history):
            raise ProfileError(f"Found a negative history in {place!r}, expected 0 or more. Measure again.")
    for model, by_point in profile.score.items():
        if any(h < 0 or c < 1 or b < 1 for h, c, b in by_point):
            raise ProfileError(
                f"Found a point of {model!r} out of range, expected history >= 0, others >= 1. Measure again."
            )
    try:
        profile.envelope()
    except ProfileError:
        raise
    except ValueError as error:
        raise ProfileError(str(error)) from error


def _check_samples(place: str, samples: Samples) -> None:
    if len(samples) < MIN_SAMPLES:
        raise ProfileError(
            f"Found {len(samples)} samples in {place}, expected at least {MIN_SAMPLES}. Repeat more."
        )
    if not all(math.isfinite(s) for s in samples) or samples[0] < 0.0:
        raise ProfileError(f"Found a negative or infinite time in {place}, expected seconds. Measure again.")
    if any(a > b for a, b in itertools.pairwise(samples)):
        raise ProfileError(f"Found unsorted samples in {place}, expected ascending seconds. Sort them.")


def load(path: Path) -> ServiceProfile:
    """Read a profile.

    Raises:
        ProfileError: the file is missing, is not a profile, or fails `validate`.
    """
    try:
        text = path.read_bytes()
    except (OSError, ValueError) as error:  # a path may hold what no file's name can
        raise ProfileError(
            f"{path}: found no readable profile ({getattr(error, 'strerror', error)}), expected a JSON file. "
            "Make one with `laser-ab profile` or correct the path."
        ) from error
    return _parsed(text, str(path))


# By the file's bytes, so that it is never out of date. Parsing and checking takes .4 CPU seconds, and every
# cell of a sweep, and every question of a finished run, asks for the same profile.
@lru_cache(maxsize=4)
def _parsed(text: bytes, place: str) -> ServiceProfile:
    try:
        raw = json.loads(text.decode("utf-8"))
    except ValueError as error:
        raise ProfileError(
            f"{place}: found damaged JSON ({error}), expected a service-time profile. "
            "Restore the file or measure again with `laser-ab profile`."
        ) from error
    return from_json(raw, place)


def from_json(raw: Any, place: str = "profile") -> ServiceProfile:
    """A profile from its parsed JSON.

    Raises:
        ProfileError: a field is missing or malformed, or `validate` fails.
    """
    version = raw.get("schema_version") if isinstance(raw, dict) else type(raw).__name__
    if version not in (_SORTED_SCHEMA, SCHEMA_VERSION):
        raise ProfileError(
            f"{place}: found schema_version {version!r}, expected {SCHEMA_VERSION}. "
            "Measure again with this version's `laser-ab profile`."
        )
    try:
        machine = raw["machine"]
        cells = {where: {point: _numbers(s) for point, s in grid.items()} for where, grid in cells_of(raw)}
        order = {}
        if version == SCHEMA_VERSION:
            order = {where: {p: ranks_of(s) for p, s in grid.items()} for where, grid in cells.items()}
            cells = {where: {p: tuple(sorted(s)) for p, s in grid.items()} for where, grid in cells.items()}
        stores, scores = (
            {where.partition("/")[2]: grid for where, grid in cells.items() if where.startswith(stage)}
            for stage in ("store/", "score/")
        )
        return ServiceProfile(
            machine=Machine(
                str(machine["cpu"]), int(machine["cores"]), float(machine["memory_gib"]), machine["gpu"]
            ),
            versions={str(k): str(v) for k, v in raw["versions"].items()},
            commit=str(raw["commit"]),
            date=str(raw["date"]),
            store={key: {h: s for (h,), s in grid.items()} for key, grid in stores.items()},
            transport={h: s for (h,), s in cells["transport"].items()},
            score={model: {(h, c, b): s for (h, c, b), s in grid.items()} for model, grid in scores.items()},
            order=order,
            cpu_s={
                where: {point: (float(p50), float(p95)) for point, (p50, p95) in grid.items()}
                for where, grid in cells_of(raw.get("cpu", {"store": {}, "transport": {}, "score": {}}))
            },
            notes=tuple(str(note) for note in raw.get("notes", ())),
        )
    except ProfileError as error:
        raise ProfileError(f"{place}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProfileError(
            f"{place}: found a malformed field ({type(error).__name__}: {error}), expected the form in "
            "simulator/serving/profile.py. Restore the file or measure again."
        ) from error


def _nested(cells: Mapping[str, Mapping[Point, Any]]) -> dict[str, Any]:
    """The opposite of `cells_of`."""
    trees: dict[str, Any] = {"store": {}, "transport": {}, "score": {}}
    for place, grid in cells.items():
        stage, _, key = place.partition("/")
        tree = trees[stage].setdefault(key, {}) if key else trees[stage]
        for point, values in sorted(grid.items()):
            inner = tree
            for coordinate in point[:-1]:
                inner = inner.setdefault(str(coordinate), {})
            inner[str(point[-1])] = list(values)
    return trees


def _numbers(values: Any) -> Samples:
    return tuple(float(v) for v in values)


def ranks_of(measured: Samples) -> tuple[int, ...]:
    """Where each sample stands among the sorted ones; equal ones in the order measured."""
    ranks = [0] * len(measured)
    for rank, i in enumerate(sorted(range(len(measured)), key=lambda i: measured[i])):
        ranks[i] = rank
    return tuple(ranks)


def from_measured(
    machine: Machine,
    versions: Mapping[str, str],
    commit: str,
    date: str,
    wall_s: Mapping[str, Mapping[Point, Sequence[float]]],
    cpu_s: Mapping[str, Mapping[Point, tuple[float, float]]],
    notes: Sequence[str] = (),
) -> ServiceProfile:
    """A profile from samples in the order measured, by place and point; see `ServiceProfile`.

    Raises:
        ProfileError: it fails `validate`.
    """
    head = {"machine": asdict(machine), "versions": dict(versions), "commit": commit, "date": date}
    cells = _nested(wall_s) | {"cpu": _nested(cpu_s), "notes": list(notes)}
    return from_json(head | cells | {"schema_version": SCHEMA_VERSION})


def to_json(profile: ServiceProfile) -> dict[str, Any]:
    """The profile as JSON's types; `from_json` reads it back equal."""
    places = profile.places
    head = {
        "schema_version": SCHEMA_VERSION if profile.order else _SORTED_SCHEMA,
        "machine": asdict(profile.machine),
        "versions": dict(profile.versions),
        "commit": profile.commit,
        "date": profile.date,
    }
    cells = {place: {p: profile.measured(place, p) for p in grid} for place, grid in places.items()}
    if profile.order:
        head |= {"notes": list(profile.notes), "cpu": _nested(profile.cpu_s)}
    return head | _nested(cells)


def save(profile: ServiceProfile, path: Path) -> None:
    """Write a profile; a reader sees the old file or the new one, never half of either.

    Raises:
        ResultsError: the disk is full or the folder not writable; nothing is left there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(profile), separators=(",", ":"))
    write_new(path, lambda file: file.write(text.encode()))
