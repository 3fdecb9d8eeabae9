"""What the command line says of axes, as `Axis`; light, so that it is checked at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from simulator.config.overrides import toml_value
from simulator.results.axes import Axis, SweepError


def parse_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Axes from "KEY=a,b,c" each.

    Raises:
        SweepError: another form, a value twice, or no value.
    """
    return tuple(_axis(text) for text in texts)


def parse_cell(text: str) -> dict[str, Any]:
    """A cell from "KEY=VALUE,KEY=VALUE".

    Raises:
        SweepError: another form, or a key twice.
    """
    try:
        found = _flat(tomllib.loads(f"cell = {{{text}}}")["cell"])
    except tomllib.TOMLDecodeError:  # words without quotes, as in --set
        pairs = [part.partition("=") for part in text.split(",")]
        found = {key.strip(): toml_value(value.strip()) for key, _, value in pairs}
        if len(found) < len(pairs) or not all(key.strip() and value.strip() for key, _, value in pairs):
            raise SweepError(
                f"Found the cell {text!r}, expected KEY=VALUE,KEY=VALUE, such as "
                "arms.treatment.history=200,experiment.budget_ms=20."
            ) from None
    return found


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def _axis(text: str) -> Axis:
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise SweepError(
            f"Found the axis {text!r}, expected KEY=VALUE,VALUE, such as arms.treatment.history=50,200,1000."
        )
    return Axis(key.strip(), tuple(_values(values)))


def _values(text: str) -> list[Any]:
    try:
        found: list[Any] = tomllib.loads(f"values = [{text}]")["values"]
    except tomllib.TOMLDecodeError:  # words without quotes, as in --set
        return [toml_value(part.strip()) for part in text.split(",") if part.strip()]
    return found
