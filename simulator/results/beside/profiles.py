"""Service-time profiles as tables: what reading, transport and scoring took.

`simulator/serving/profile.py` has the files' form, and draws from them; here they are only summed up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.results.errors import ResultsError

#: With the package; `experiment.profile` names them by their files' names.
SHIPPED = Path(__file__).resolve().parents[2] / "profiles"
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class ProfileSummary:
    """A profile's percentiles.

    Attributes:
        machine: where it was measured, in words.
        date, commit: when, and of which code.
        notes: what was done to samples after they were measured.
        rows: stage ("store", "transport", "score"), what (the store or model; empty for transport), history,
            candidates and batch (None but of scores), p50_ms, p95_ms, p99_ms, samples.
    """

    machine: str
    date: str
    commit: str
    notes: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]


def summary(path: Path) -> ProfileSummary:
    """Sum up a profile.

    Raises:
        ResultsError: the file is missing, or no profile.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        rows = [_row(place, point, samples) for place, grid in cells(raw) for point, samples in grid.items()]
        machine = raw["machine"]
        words = f"{machine['cpu']}, {machine['cores']} cores"
        words += f", {machine['gpu']}" if machine["gpu"] else ""
        notes = tuple(map(str, raw.get("notes", ())))
        return ProfileSummary(words, str(raw["date"]), str(raw["commit"]), notes, tuple(rows))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"found no service-time profile ({type(error).__name__}: {error}), expected one."
        raise ResultsError(path, reason, "Measure one: laser-ab profile OUT.json.") from error


def cells(raw: Mapping[str, Any]) -> Iterator[tuple[str, dict[tuple[int, ...], Any]]]:
    """A profile's three trees by place ("store/KEY", "transport", "score/MODEL") and point.

    A point is (history,), of scores (history, candidates, batch).
    """
    for key, grid in raw["store"].items():
        yield f"store/{key}", {(int(h),): values for h, values in grid.items()}
    yield "transport", {(int(h),): values for h, values in raw["transport"].items()}
    for model, grid in raw["score"].items():
        yield (
            f"score/{model}",
            {
                (int(h), int(c), int(b)): values
                for h, by_candidates in grid.items()
                for c, by_batch in by_candidates.items()
                for b, values in by_batch.items()
            },
        )


def _row(place: str, point: tuple[int, ...], samples: Any) -> dict[str, Any]:
    stage, _, what = place.partition("/")
    history, candidates, batch = (*point, None, None)[:3]
    seconds = np.percentile(np.asarray(samples, np.float64), PERCENTILES)
    found = {f"p{p}_ms": 1000 * float(value) for p, value in zip(PERCENTILES, seconds, strict=True)}
    head = {"stage": stage, "what": what, "history": history, "candidates": candidates, "batch": batch}
    return {**head, **found, "samples": len(samples)}
