"""Presets calibrated on a log: TOML files in `presets/`, as `laser-ab calibrate LOG --preset FILE` makes."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).with_name("presets")


@dataclass(frozen=True)
class Calibrated:
    """A preset and where it comes from.

    Attributes:
        log: the name of the log.
        licence: of the log, of which the file holds no row.
        distances: Kolmogorov distances between the log and a world of the preset, by statistic.
        world: parameters that differ from a plain world's.
    """

    log: str
    licence: str
    distances: dict[str, float]
    world: dict[str, Any]


@cache
def calibrated() -> dict[str, Calibrated]:
    """The shipped presets of this kind by name, in alphabetical order."""
    files = sorted(_FOLDER.glob("*.toml"))
    return {file.stem: Calibrated(**tomllib.loads(file.read_text("utf-8"))) for file in files}
