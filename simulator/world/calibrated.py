"""Presets calibrated on a log: TOML files in `presets/`, as `laser-ab calibrate LOG --preset FILE` makes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
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

    @property
    def like(self) -> str:
        """What results say of it."""
        return likeness(self.log, self.licence, self.distances)


def likeness(log: str, licence: str, distances: Mapping[str, float]) -> str:
    """Which log a generated world resembles and how nearly, as `traffic.like` has it.

    Args:
        log, licence: of the log.
        distances: Kolmogorov distances by statistic.
    """
    text = f"{log} ({licence.rstrip('.')})"
    if distances:
        worst = max(distances, key=distances.__getitem__)
        text += f"; largest Kolmogorov distance {distances[worst]:.2f}, {worst}"
    return text


@cache
def calibrated() -> dict[str, Calibrated]:
    """The shipped presets of this kind by name, in alphabetical order."""
    files = sorted(_FOLDER.glob("*.toml"))
    return {file.stem: Calibrated(**tomllib.loads(file.read_text("utf-8"))) for file in files}
