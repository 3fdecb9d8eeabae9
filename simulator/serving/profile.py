"""A service-time profile: what the stages took on a machine, with the whole spread kept.

One JSON file, seconds throughout:

    {"schema_version": 1, "date": "2025-01-31", "commit": "...",
     "machine": {"cpu": "...", "cores": 2, "memory_gib": 8.0, "gpu": null},
     "versions": {"python": "3.11.9", ...},
     "store":     {STORE: {HISTORY: [sorted seconds, at least 100]}},
     "transport": {HISTORY: [...]},
     "score":     {MODEL: {HISTORY: {CANDIDATES: {BATCH: [...]}}}}}

Start reading at `load`; `measure.py` fills one from real calls.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from simulator.errors import SimulatorError
from simulator.results.files import write_new
from simulator.serving.grid import BATCH, CANDIDATES, HISTORY, Grid

SCHEMA_VERSION = 1
# Below a hundred samples a P99 is the maximum.
MIN_SAMPLES = 100

Samples = tuple[float, ...]
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
        return Grid([HISTORY], {(h,): s for h, s in _entry(self.store, key, "store").items()})

    def score_grid(self, model: str) -> Grid:
        """A model's scoring over history, candidates and batch.

        Raises:
            ProfileError: the profile lacks this model.
        """
        cells = _entry(self.score, model, "model")
        return Grid([HISTORY, CANDIDATES, BATCH], cast(Mapping[tuple[int, ...], Samples], cells))

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
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(
            f"{path}: found no readable profile ({error.strerror}), expected a JSON file. "
            "Make one with `laser-ab profile` or correct the path."
        ) from error
    except ValueError as error:
        raise ProfileError(
            f"{path}: found damaged JSON ({error}), expected a service-time profile. "
            "Restore the file or measure again with `laser-ab profile`."
        ) from error
    return from_json(raw, str(path))


def from_json(raw: Any, place: str = "profile") -> ServiceProfile:
    """A profile from its parsed JSON.

    Raises:
        ProfileError: a field is missing or malformed, or `validate` fails.
    """
    if not isinstance(raw, dict) or raw.get("schema_version") != SCHEMA_VERSION:
        found = raw.get("schema_version") if isinstance(raw, dict) else type(raw).__name__
        raise ProfileError(
            f"{place}: found schema_version {found!r}, expected {SCHEMA_VERSION}. "
            "Measure again with this version's `laser-ab profile`."
        )
    try:
        machine = raw["machine"]
        return ServiceProfile(
            machine=Machine(
                str(machine["cpu"]), int(machine["cores"]), float(machine["memory_gib"]), machine["gpu"]
            ),
            versions={str(k): str(v) for k, v in raw["versions"].items()},
            commit=str(raw["commit"]),
            date=str(raw["date"]),
            store={key: _by_history(grid) for key, grid in raw["store"].items()},
            transport=_by_history(raw["transport"]),
            score={
                model: {
                    (int(h), int(c), int(b)): _samples(samples)
                    for h, by_candidates in grid.items()
                    for c, by_batch in by_candidates.items()
                    for b, samples in by_batch.items()
                }
                for model, grid in raw["score"].items()
            },
        )
    except ProfileError as error:
        raise ProfileError(f"{place}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProfileError(
            f"{place}: found a malformed field ({type(error).__name__}: {error}), expected the form in "
            "simulator/serving/profile.py. Restore the file or measure again."
        ) from error


def _samples(values: Any) -> Samples:
    return tuple(float(v) for v in values)


def _by_history(grid: Mapping[str, Any]) -> dict[int, Samples]:
    return {int(h): _samples(samples) for h, samples in grid.items()}


def to_json(profile: ServiceProfile) -> dict[str, Any]:
    """The profile as JSON's types; `from_json` reads it back equal."""
    score: dict[str, Any] = {}
    for model, cells in profile.score.items():
        grid = score.setdefault(model, {})
        for (h, c, b), samples in sorted(cells.items()):
            grid.setdefault(str(h), {}).setdefault(str(c), {})[str(b)] = list(samples)
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": asdict(profile.machine),
        "versions": dict(profile.versions),
        "commit": profile.commit,
        "date": profile.date,
        "store": {
            key: {str(h): list(s) for h, s in sorted(grid.items())} for key, grid in profile.store.items()
        },
        "transport": {str(h): list(s) for h, s in sorted(profile.transport.items())},
        "score": score,
    }


def save(profile: ServiceProfile, path: Path) -> None:
    """Write a profile; a reader sees the old file or the new one, never half of either.

    Raises:
        ResultsError: the disk is full or the folder not writable; nothing is left there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(profile), separators=(",", ":"))
    write_new(path, lambda file: file.write(text.encode()))
