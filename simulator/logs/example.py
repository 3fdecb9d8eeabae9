"""The example experiment that fits a log, by how much its requests know: `example_of`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The wheel's copies; a checkout's `examples/` has the same bytes (a test compares them).
_SHIPPED = Path(__file__).resolve().parents[1] / "examples"
_ENOUGH = 0.01  # of the requests must know more than a length, for an arm to read so much
_BETWEEN, _MUCH = 200, 1000  # behaviours; the second is what the treatment of `LONG` reads


@dataclass(frozen=True)
class Example:
    """An example file, and how much its treatment is to read.

    Attributes:
        name: of the file, without `.toml`.
        asked: behaviours; None for as many as the file says.
    """

    name: str
    asked: int | None = None

    @property
    def says(self) -> dict[str, Any]:
        """Its "name", the file's "load", and "history": behaviours that the treatment is to read."""
        file = tomllib.loads((_SHIPPED / f"{self.name}.toml").read_text(encoding="utf-8"))
        history = self.asked or file["arms"]["treatment"]["history"]
        return {"name": self.name, "load": file["traffic"]["load"], "history": history}

    def path(self) -> Path:
        """The file, from the current folder where it lies below it: a checkout's, else the package's."""
        checkout = _SHIPPED.parents[1] / "examples" / f"{self.name}.toml"
        file = checkout if checkout.is_file() else _SHIPPED / f"{self.name}.toml"
        here = Path.cwd().resolve()
        return file.relative_to(here) if file.is_relative_to(here) else file


SHORT = Example("kuairand")
LONG = Example("complete-journey")


def example_of(manifest: Mapping[str, Any]) -> Example:
    """The example whose treatment reads as much as at least a percent of the log's last requests know."""
    if _knows_more(manifest, _MUCH):
        return LONG
    if _knows_more(manifest, _BETWEEN):
        return Example(SHORT.name, _BETWEEN)
    return SHORT


def _knows_more(manifest: Mapping[str, Any], behaviours: int) -> bool:
    if "shows" not in manifest:  # imported before it was found out
        return bool(manifest["histories"]["p99"] > behaviours)
    return bool(manifest["shows"]["longer_than"][str(behaviours)] >= _ENOUGH)
