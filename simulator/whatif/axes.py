"""What the command line says of axes, as `Axis`; light, so that it is checked at once."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from simulator.config.overrides import toml_value
from simulator.results.axes import Axis, SweepError


def parse_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Axes from "KEY=a,b,c" each.

    Raises:
        SweepError: another form, a value twice, or no value.
    """
    return tuple(_axis(text) for text in texts)


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
