"""The example experiment that fits a log, by how much its requests know: `example_of`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The wheel's copies; a checkout's `examples/` has the same bytes (a test compares them).
_SHIPPED = Path(__file__).resolve().parents[1] / "examples"
_ENOUGH = 0.01  # of the requests must know more than a length, for an arm to read so much
_BETWEEN = 200


@dataclass(frozen=True)
class Example:
    """An example file and what it says.

    Attributes:
        name: of the file, without `.toml`.
        load: its load.
        history: behaviours that the treatment is to read.
        own_history: those that the file says it reads.
    """

    name: str
    load: float
    history: int
    own_history: int

    def path(self) -> Path:
        """The file, from the current folder where it lies below it: a checkout's, else the package's."""
        checkout = _SHIPPED.parents[1] / "examples" / f"{self.name}.toml"
        file = checkout if checkout.is_file() else _SHIPPED / f"{self.name}.toml"
        here = Path.cwd().resolve()
        return file.relative_to(here) if file.is_relative_to(here) else file


SHORT = Example("kuairand", 0.15, 100, 100)
LONG = Example("complete-journey", 0.3, 1000, 1000)


def example_of(manifest: Mapping[str, Any]) -> Example:
    """The example whose treatment reads as much as at least a percent of the log's last requests know."""
    if _knows_more(manifest, LONG.history):
        return LONG
    if _knows_more(manifest, _BETWEEN):
        return Example(SHORT.name, SHORT.load, _BETWEEN, SHORT.own_history)
    return SHORT


def _knows_more(manifest: Mapping[str, Any], behaviours: int) -> bool:
    if "shows" not in manifest:  # imported before it was found out
        return bool(manifest["histories"]["p99"] > behaviours)
    return bool(manifest["shows"]["longer_than"][str(behaviours)] >= _ENOUGH)
