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
from simulator.logs.table.staging.mapping import Column, Mapping


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
    if "impressions" not in data:
        alone = " beside [behaviours]" if "behaviours" in data else ""
        message = f"found no [impressions]{alone}, expected what was shown and whether it was clicked"
        help = (
            "an experiment replays impressions; of what users did alone, such as purchases, make some first, "
            'as docs/logs.md says under "Only purchases?"'
        )
        raise ConfigError([origin.at(("behaviours",), message, help)])
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
    _check_items(loaded)
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


def _check_items(loaded: Loaded) -> None:
    """What is read from the items' table, and what is said of it."""
    mapping = loaded.mapping
    for table in ("impressions", "behaviours"):
        for name, field in getattr(mapping, table) or ():
            if not (isinstance(field, Column) and field.of_items):
                continue
            path, key = (table, name), f"{table}.{name}"
            if mapping.items is None:
                message = f"`{key}`: is read from the items, and there is no [items]"
                loaded.refuse(path, message, 'add [items] with files = ["..."] and key = "..."')
            if name not in ("category", "advertiser"):
                message = f"`{key}`: cannot be read from the items: only category and advertiser can"
                loaded.refuse(path, message, "name a column of the table's own files")
    if (
        mapping.items is not None
        and mapping.items.department is not None
        and mapping.category_of_items is None
    ):
        own = mapping.impressions.category
        of = f", and impressions.category is {own.name} of the impressions" if own else ", and there is none"
        loaded.refuse(
            ("items", "department"),
            f"`items.department`: is of categories that are read from the items{of}",
            'write category = "items.COLUMN" in [impressions], COLUMN of the items\' files',
        )
