"""Load and check a mapping file; what is wrong with it is shown where it was written, all of it at once."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from simulator.config.errors import ConfigError, Problem
from simulator.config.load import lines_of, parse_toml, read_text
from simulator.config.locate import KeyPath
from simulator.config.origins import Origin
from simulator.logs.table.staging.mapping import Mapping


@dataclass(frozen=True)
class Loaded:
    """A mapping, the folder from which its files are found, its text, and where each key stands."""

    mapping: Mapping
    folder: Path
    text: str
    origin: Origin

    def refuse(self, path: KeyPath, message: str, help: str | None = None) -> NoReturn:
        """Say what is wrong at a key.

        Raises:
            ConfigError: always.
        """
        raise ConfigError([self.origin.at(path, message, help)])


def load_mapping(path: Path, folder: Path | None = None) -> Loaded:
    """Read a mapping file.

    Args:
        path: the TOML file.
        folder: where its files are; the mapping's own folder by default.

    Raises:
        ConfigError: it cannot be read or parsed, or something in it is wrong.
    """
    text = read_text(path, "the mapping file", "docs/logs.md has one to copy")
    data, places = parse_toml(text, str(path))
    origin = Origin(str(path), lines_of(text), places, [], Mapping)
    try:
        mapping = Mapping.model_validate(data)
    except ValidationError as error:
        problems = [origin.problem(details, data) for details in error.errors()]
        raise ConfigError(sorted(problems, key=_reading_order)) from error
    loaded = Loaded(mapping, (folder or path.resolve().parent), text, origin)
    _check(loaded)
    return loaded


def _reading_order(problem: Problem) -> Any:
    place = problem.place
    return (place is None, place and (place.line, place.column))


def _check(loaded: Loaded) -> None:
    source = loaded.mapping.source
    try:
        zoneinfo.ZoneInfo(source.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        loaded.refuse(
            ("source", "time_zone"),
            f"`source.time_zone`: found {source.time_zone!r}, expected a name of the IANA database",
            'such as "UTC" or "Europe/Berlin"',
        )
    if source.first and source.last and source.first >= source.last:
        loaded.refuse(("source", "to"), f"`source.to`: {source.last} is not after {source.first}")
