"""What the pages of the model study are worked out from: the saved rows, paired gaps, verdicts, fronts."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.models.gaps import ends, gaps_by_world, over_worlds

Row = dict[str, Any]
NONE = "–"
AS_PUBLISHED = "as in the paper"


@dataclass(frozen=True)
class Study:
    """All that was saved; any part of it may be missing.

    Attributes:
        rows: trainings judged, tuning: trials, latency: requests timed; failed: trainings that failed.
        results: the files without their rows, by name.
    """

    rows: list[Row] = field(default_factory=list)
    tuning: list[Row] = field(default_factory=list)
    latency: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    results: dict[str, Row] = field(default_factory=dict)

    @classmethod
    def saved(cls, folder: Path) -> "Study":
        """What a folder of results holds of the study."""
        files = [folder / f"{name}.json" for name in ("model_study", "model_study_tuning")]
        files += sorted(folder.glob("model_latency*.json"))
        found = {path.stem: json.loads(path.read_text()) for path in sorted(files) if path.exists()}
        rows = {name: result.pop("rows") for name, result in found.items()}
        trainings = rows.get("model_study", [])
        trials = rows.get("model_study_tuning", [])
        latency = [row for name, own in rows.items() if name.startswith("model_latency") for row in own]
        return cls(
            [row for row in trainings if row["sauc"] is not None],
            [row for row in trials if row["sauc"] is not None],
            latency,
            [row for row in (*trainings, *trials) if row["sauc"] is None],
            found,
        )

    def pool(self, *parts: str, protocol: str = "tuned") -> list[Row]:
        """Rows of some parts; of rows that agree in world, seeds and name, the first part's."""
        found: dict[tuple[Any, ...], Row] = {}
        for part in parts:
            for row in self.rows:
                if row["part"] == part and row["protocol"] == protocol:
                    key = (row["world"], row["world_seed"], row["train_seed"], row["name"])
                    found.setdefault(key, row)
        return list(found.values())

    def latency_ms(self, name: str, mode: str, candidates: int, quantile: str = "p50_ms") -> float | None:
        """A row's time; None where it was not taken."""
        for row in self.latency:
            if (row["name"], row["mode"], row["candidates"]) == (name, mode, candidates):
                value: float | None = row[quantile]
                return value
        return None


def prose(text: str, indent: str = "") -> str:
    """A paragraph in lines of the page's width, those after the first indented."""
    words = " ".join(text.split())
    return (
        textwrap.fill(words, 118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        + "\n"
    )


def worlds_of(rows: Iterable[Row]) -> list[str]:
    """Worlds in the order of the rows."""
    return list(dict.fromkeys(row["world"] for row in rows))


def named(rows: Iterable[Row], world: str, name: str) -> list[Row]:
    """The trainings of one name on one world."""
    return [row for row in rows if (row["world"], row["name"]) == (world, name)]


def average(rows: Sequence[Row], column: str) -> float | None:
    """A column's mean; None without rows."""
    return mean(row[column] for row in rows) if rows else None


def gap(rows: list[Row], world: str, one: str, other: str) -> Row | None:
    """One's gain over the other on a world, points, with its spread over worlds; None without pairs."""
    return over_worlds(by_seed(rows, world, one, other))


def by_seed(rows: list[Row], world: str, one: str, other: str) -> dict[int, list[float]]:
    """The same by world seed; rows of any protocol, so pass those of one."""
    protocols = {row["protocol"] for row in rows}
    assert len(protocols) <= 1, f"rows of {protocols}"
    return gaps_by_world(rows, world, next(iter(protocols), ""), one, other, "name")


def cell(found: Row | None, form: str = "+.3f") -> str:
    """A mean and its interval."""
    if found is None:
        return NONE
    interval = ends(found)
    shown = f"{found['pt']:{form}}"
    return shown if interval is None else f"{shown} [{interval[0]:{form}}, {interval[1]:{form}}]"


def sign(found: Row | None) -> int | None:
    """1 or -1 where the interval leaves 0 on one side, 0 where it does not; None without an interval."""
    interval = None if found is None else ends(found)
    if interval is None:
        return None
    return 1 if interval[0] > 0 else -1 if interval[1] < 0 else 0


def verdict(found: Row | None, claimed: float) -> str:
    """What a gap says of a claimed one's sign."""
    seen = sign(found)
    if seen is None:
        return "not measured" if found is None else "one world"
    if seen == 0:
        return "not distinguished"
    return AS_PUBLISHED if seen * claimed > 0 else "the other way round"


def front(points: Iterable[tuple[str, float, float]]) -> list[str]:
    """Names of the (name, cost, quality) that no other beats or equals in both, cheapest first."""
    kept: list[str] = []
    best = float("-inf")
    for name, _, quality in sorted(points, key=lambda point: (point[1], -point[2])):
        if quality > best:
            kept.append(name)
            best = quality
    return kept


def large(count: float | None) -> str:
    """Operations in millions."""
    return NONE if count is None else f"{_digits(count / 1e6)} M"


def times(value: float | None, base: float | None) -> str:
    """A ratio."""
    return NONE if value is None or not base else f"{value / base:.2f} x"


def milliseconds(value: float | None) -> str:
    """A latency."""
    return NONE if value is None else _digits(value)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"
