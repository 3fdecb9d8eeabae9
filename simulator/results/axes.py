"""The axes of a sweep: the settings that it varies, and how a reader meets them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import isfinite
from typing import Any

from simulator.errors import SimulatorError, short

MOST_CELLS = 1000
BUDGET = "experiment.budget_ms"
_UNITS = ("ms", "s")
_LABELS = {BUDGET: "Latency budget (ms)"}


class SweepError(SimulatorError):
    """A sweep that cannot be made: axes that do not fit, or service times that cannot be replayed."""


@dataclass(frozen=True)
class Axis:
    """A setting that a sweep varies.

    Args:
        key: dotted, as in the experiment file: "arms.treatment.history".
        values: what it takes, in order; at least one, each once.
        own: what the file itself has, where that is known; a sweep fills it in.

    Raises:
        SweepError: no key, no value, or a value twice.
    """

    key: str
    values: tuple[Any, ...]
    own: Any = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not all(self.key.split(".")):
            raise SweepError(
                f"Found the axis {self.key!r}, expected a key such as arms.treatment.history. Name one."
            )
        named = [json.dumps(value, default=repr) for value in self.values]
        if not named or len(set(named)) < len(named):
            raise SweepError(
                f"Found the values {short(list(self.values))} for {self.key}, expected one or more, each "
                "once. Change the axis."
            )

    @property
    def label(self) -> str:
        """What readers call it: "Latency budget (ms)", or the key without its first table."""
        return _LABELS.get(self.key, self.key.partition(".")[2] or self.key)

    @property
    def short(self) -> str:
        """The same in a word or two, for the head of a column: "budget ms", "history"."""
        return self.key.rpartition(".")[2].replace("_", " ")

    @property
    def numeric(self) -> bool:
        """Whether every value is a finite number, so that there is an order and a distance."""
        return all(_is_number(value) for value in self.values)

    @property
    def nearest(self) -> Any:
        """The value next to the file's own; the middle one where that is unknown or no number."""
        if self.own in self.values:
            return self.own
        if self.numeric and _is_number(self.own):
            return min(self.values, key=lambda value: abs(value - self.own))
        return self.values[len(self.values) // 2]

    def text(self, value: Any) -> str:
        """A value as it is shown: numbers in three digits, or as many as keep the values distinct."""
        if not self.numeric or not _is_number(value):
            return value if isinstance(value, str) else json.dumps(value)
        for digits in range(3, 18):
            if len({f"{one:.{digits}g}" for one in self.values}) == len(self.values):
                break
        # Whole numbers in full: 12000, not 1.2e+04.
        return str(value) if isinstance(value, int) else f"{value:.{digits}g}"

    def column(self, value: Any) -> Any:
        """A value as the axis's column of sweep.parquet holds it: lists and mixed values as text."""
        if self.numeric:
            return value if all(isinstance(one, int) for one in self.values) else float(value)
        if all(isinstance(one, bool) for one in self.values) or isinstance(value, str):
            return value
        return json.dumps(value)


def cells_of(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Every combination of the axes' values, by key; the last axis varies fastest.

    Raises:
        SweepError: no axis, an axis twice, or too many cells.
    """
    keys = [axis.key for axis in axes]
    if not keys or len(set(keys)) < len(keys):
        raise SweepError(f"Found the axes {keys}, expected one or more, each once. Name them.")
    cells = [dict(zip(keys, values, strict=True)) for values in product(*(axis.values for axis in axes))]
    if len(cells) > MOST_CELLS:
        raise SweepError(f"Found {len(cells):,} cells, expected at most {MOST_CELLS:,}. Use fewer values.")
    return cells


def axes_over(cells: Sequence[Mapping[str, Any]]) -> tuple[Axis, ...]:
    """The axes of cells that are listed one by one: their keys, and each one's values as they come.

    Raises:
        SweepError: no cell, a cell twice, too many, or cells of unlike keys.
    """
    named = [json.dumps(cell, sort_keys=True, default=repr) for cell in cells]
    keys = {frozenset(cell) for cell in cells}
    if len(keys) != 1 or not all(cells) or len(set(named)) < len(named) or len(cells) > MOST_CELLS:
        raise SweepError(
            f"Found the cells {short([dict(cell) for cell in cells])}, expected 1 to {MOST_CELLS:,}, each "
            "once, and each with a value of the same keys. Change the list."
        )
    columns = {key: [cell[key] for cell in cells] for key in cells[0]}
    return tuple(
        Axis(key, tuple({json.dumps(value, default=repr): value for value in column}.values()))
        for key, column in columns.items()
    )


def in_words(axes: Sequence[Axis], values: Mapping[str, Any]) -> str:
    """A cell's values: "budget 20 ms, history 200"."""
    found = []
    for name, axis in zip(heads(axes), axes, strict=True):
        value = values[axis.key]
        of, _, unit = name.rpartition(" ")
        if not of or unit not in _UNITS:
            of, unit = name, ""
        found.append(f"{of} {axis.text(value)}" + (f" {unit}" if unit and _is_number(value) else ""))
    return ", ".join(found)


def heads(axes: Sequence[Axis]) -> list[str]:
    """The axes' short names; the long ones where two have the same, as the histories of two arms."""
    short = [axis.short for axis in axes]
    return [name if short.count(name) == 1 else axis.label for name, axis in zip(short, axes, strict=True)]


def axes_of(manifest: Mapping[str, Any]) -> tuple[Axis, ...]:
    """A sweep's axes as its manifest has them; none before they are known."""
    return tuple(Axis(one["key"], tuple(one["values"]), one["own"]) for one in manifest.get("axes") or ())


def as_json(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Axes as a manifest holds them."""
    return [{"key": axis.key, "values": list(axis.values), "own": axis.own} for axis in axes]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
