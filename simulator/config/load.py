"""Load, check and write experiment files. Start at `load_config`; the tables are in `settings.py`.

Precedence: file < environment (LASER_AB_EXPERIMENT__LEVEL=0.9) < --set experiment.level=0.9 < --seed.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simulator.config.errors import ConfigError, Problem
from simulator.config.locate import KeyPath, Place, locate_keys
from simulator.config.market import Market
from simulator.config.origins import Origin, suggest
from simulator.config.overrides import Change, apply_changes, read_changes, read_toml
from simulator.config.settings import (
    ArmSettings,
    Experiment,
    ExperimentConfig,
    Traffic,
    Training,
    is_shipped_profile,
)
from simulator.config.toml_writer import write_toml
from simulator.errors import short
from simulator.logs.manifest import read_manifest
from simulator.logs.real_log import Split, split_days
from simulator.world.config import WorldConfig, preset, presets

__all__ = [
    "ArmSettings",
    "ConfigError",
    "Experiment",
    "ExperimentConfig",
    "Market",
    "Problem",
    "Traffic",
    "Training",
    "changed",
    "load_config",
    "log_split",
    "parse_config",
    "read_config",
    "to_toml",
    "value_of",
    "world_config",
]

# Why an experiment needs more of it than a world.
_WHY = {
    "users": "an arm of one user has no variance",
    "requests": "a rate of arrivals needs two of them",
    "candidates": "one is nothing to rank",
}
_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load_config(
    path: Path | str,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> ExperimentConfig:
    """Read, override, check and resolve an experiment file.

    Args:
        path: the TOML file. Relative paths in it are relative to its folder.
        overrides: `a.b=1` each; the value is TOML, or text when it is not TOML.
        seed: replaces the file's.
        environment: `os.environ` by default.

    Raises:
        ConfigError: the file cannot be read or parsed, or values are wrong; all of them at once, each
            with its place.
    """
    return read_config(Path(path), overrides, seed, environment)[0]


def read_config(
    path: Path,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[ExperimentConfig, Origin]:
    """`load_config`, and where each value was written, for what is found out about them later."""
    text = read_text(path, "the experiment file", "`laser-ab config init` prints a template")
    environment = os.environ if environment is None else environment
    return _parse_config(text, str(path), path.resolve().parent, overrides, seed, environment)


def read_text(path: Path, what: str, advice: str) -> str:
    """The text of a file of settings.

    Raises:
        ConfigError: it cannot be read, or is no text; with a file of nearly that name, or the advice.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except (OSError, ValueError) as error:  # not text, or no path
        text_error = isinstance(error, UnicodeDecodeError)
        reason = "not UTF-8 text" if text_error else getattr(error, "strerror", None) or str(error)
        help = _nearby_file(path) or advice
        raise ConfigError([Problem(f"cannot read {what}: {reason}", str(path), help=help)]) from error


def parse_config(
    text: str,
    source: str = "experiment.toml",
    folder: Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> ExperimentConfig:
    """As `load_config`, for a text instead of a file.

    Args:
        text: TOML.
        source: what messages call it.
        folder: what relative paths in it are relative to; the current folder by default.
        overrides, seed: as in `load_config`.
        environment: none by default.

    Raises:
        ConfigError: as `load_config`.
    """
    return _parse_config(text, source, folder or Path.cwd(), overrides, seed, environment or {})[0]


def _parse_config(
    text: str,
    source: str,
    folder: Path,
    overrides: Sequence[str],
    seed: int | None,
    environment: Mapping[str, str],
) -> tuple[ExperimentConfig, Origin]:
    data, places = parse_toml(text, source)
    changes, problems = read_changes(overrides, seed, environment)
    origin = Origin(source, lines_of(text), places, changes)
    problems += apply_changes(data, changes)
    if problems:
        raise _error(problems)
    experiment = data.setdefault("experiment", {})
    if isinstance(experiment, dict):
        experiment.setdefault("name", Path(source).stem or "experiment")
    return _checked(data, origin, folder), origin


def changed(config: ExperimentConfig, values: Mapping[str, Any], source: str) -> ExperimentConfig:
    """The experiment with other values, checked as a file's are.

    Args:
        config: the experiment.
        values: by dotted key.
        source: what messages call the changes, such as "axis".

    Raises:
        ConfigError: a key is unknown, or a value is wrong.
    """
    data: dict[str, Any] = config.model_dump()
    changes = [
        Change(tuple(key.split(".")), value, f"{source} {key}={value}") for key, value in values.items()
    ]
    origin = Origin(f"{config.experiment.name} (resolved)", [], {}, changes)
    problems = apply_changes(data, changes)
    if problems:
        raise _error(problems)
    return _checked(data, origin, Path.cwd())


def value_of(config: ExperimentConfig, key: str) -> Any:
    """The value of a dotted key; None where the file has none."""
    found: Any = config.model_dump(mode="json")
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _checked(data: dict[str, Any], origin: Origin, folder: Path) -> ExperimentConfig:
    problems = _resolve_paths(data, origin, folder) + _name_problems(data, origin)
    try:
        config = ExperimentConfig.model_validate(data)
    except ValidationError as error:
        problems += [origin.problem(details, data) for details in error.errors()]
    else:
        problems = problems or _world_problems(config, origin)
        if not problems:
            return config
    raise _error(problems)


def _error(problems: list[Problem]) -> ConfigError:
    return ConfigError(
        sorted(problems, key=lambda p: (p.place is None, p.place and (p.place.line, p.place.column)))
    )


def to_toml(config: ExperimentConfig) -> str:
    """The resolved file: every value written out, in the models' order. Loading it gives the same config."""
    return write_toml(config.model_dump(mode="json"))


def world_config(config: ExperimentConfig) -> WorldConfig:
    """The world the file asks for: its preset with the file's own values in place of the preset's.

    Raises:
        ValueError: a log in a preset's place, an unknown preset or parameter, or a value the world refuses.
    """
    if config.traffic.preset is None:
        raise ValueError("traffic.log is set, expected a preset. Ask log_split for a log.")
    replaced: dict[str, Any] = dict(config.traffic.world)
    for name, value in (
        ("days", config.experiment.days),
        ("pre_days", config.experiment.pre_days),
        ("slots", config.market.slots),
    ):
        if value is not None:
            replaced[name] = value
    return preset(config.traffic.preset, **replaced)


def log_split(config: ExperimentConfig, log_days: int) -> Split:
    """How the file cuts the days of its log, of which there are `log_days`.

    Raises:
        ValueError: no log is set, or it has too few days.
    """
    if config.traffic.log is None:
        raise ValueError("traffic.preset is set, expected a log. Ask world_config for a preset.")
    experiment = config.experiment
    return split_days(log_days, config.traffic.holdout_days, experiment.pre_days, experiment.days)


def _resolve_paths(data: dict[str, Any], origin: Origin, folder: Path) -> list[Problem]:
    """Make paths absolute: those of the file from its folder, those of flags from where the user stands.

    Returns:
        What no path can be.
    """
    problems = []
    arms = data.get("arms")
    paths: list[tuple[str, ...]] = [
        ("experiment", "profile"),
        ("traffic", "log"),
        ("traffic", "arrivals", "file"),
        ("market", "bids", "file"),
    ]
    paths += [("arms", name, "checkpoint") for name in (arms if isinstance(arms, dict) else ())]
    for *parents, key in paths:
        table: Any = data
        for parent in parents:
            table = table.get(parent) if isinstance(table, dict) else None
        value = table.get(key) if isinstance(table, dict) else None
        shipped = key == "profile" and isinstance(value, str) and is_shipped_profile(value)
        if isinstance(value, str) and value and not shipped:
            base = Path.cwd() if origin.change((*parents, key)) else folder
            try:
                path = (base / Path(value).expanduser()).resolve()
                path.exists()
            except (OSError, ValueError, RuntimeError) as error:  # too long, a null character, no such ~user
                message = f"`{'.'.join((*parents, key))}`: found {short(value)}, which is no path ({error})"
                problems.append(origin.at((*parents, key), message))
            else:
                table[key] = str(path)
    return problems


def _name_problems(data: dict[str, Any], origin: Origin) -> list[Problem]:
    """Names that the world does not know: of the preset, and of parameters in [traffic.world]."""
    traffic = data.get("traffic")
    traffic = traffic if isinstance(traffic, dict) else {}
    problems = []
    name, world = traffic.get("preset"), traffic.get("world")
    if isinstance(name, str) and name not in presets():
        close = difflib.get_close_matches(name, presets(), n=1)
        message = f"`traffic.preset`: no preset {name!r}; expected one of {', '.join(presets())}"
        help = f"did you mean `{close[0]}`?" if close else None
        problems.append(origin.at(("traffic", "preset"), message, help))
    known = [field.name for field in fields(WorldConfig) if field.name != "preset"]
    for key in world if isinstance(world, dict) else ():
        if key not in known:
            message = f"unknown key `{key}` in [traffic.world]"
            problems.append(origin.at(("traffic", "world", key), message, suggest(key, known)))
    return problems


def _world_problems(config: ExperimentConfig, origin: Origin) -> list[Problem]:
    """What the world itself refuses: values out of range, or that do not fit together."""
    if config.traffic.log is not None:
        try:
            log_split(config, int(read_manifest(Path(config.traffic.log))["days"]))
        except ValueError as error:
            return [origin.at(("traffic", "log"), f"`traffic.log`: {error}")]
        return []
    try:
        world = world_config(config)
    except (ValueError, TypeError) as error:
        # The world names the parameter; `days` and its like stand elsewhere in the file.
        elsewhere = {"days": "experiment", "pre_days": "experiment", "slots": "market"}
        paths: list[KeyPath] = [
            (table, key) for key, table in elsewhere.items() if getattr(getattr(config, table), key)
        ]
        paths += [("traffic", "world", key) for key in config.traffic.world]
        named = [path for path in paths if re.search(rf"\b{path[-1]}\b", str(error))]
        path: KeyPath = named[0] if named else ("traffic", "world")
        return [origin.at(path, f"the world refuses it: {error}")]
    problems = []
    for key, least, found in (
        ("users", 2 * len(config.arms), f"{world.users:,} user{'s' * (world.users > 1)}"),
        ("requests", 2, f"{world.requests:,} request{'s' * (world.requests > 1)}"),
        ("candidates", 2, f"{world.candidates:,} candidate{'s' * (world.candidates > 1)}"),
    ):
        if getattr(world, key) < least:
            message = f"found {found}, expected at least {least}: {_WHY[key]}"
            problems.append(origin.at(("traffic", "world", key), message))
    if problems:
        return problems
    if world.pre_days == 0 and config.market.budgets == "shared":
        message = "budgets are set by the pre-period's spend, and pre_days is 0; expected at least 1 day"
        return [origin.at(("experiment", "pre_days"), message, help='or set market.budgets = "unlimited"')]
    return []


def parse_toml(text: str, source: str) -> tuple[dict[str, Any], dict[KeyPath, Place]]:
    """A text as tables, and where each key stands.

    Raises:
        ConfigError: it is not TOML; with the place.
    """
    try:
        return read_toml(text), locate_keys(text)
    except tomllib.TOMLDecodeError as error:
        lines = lines_of(text)
        match = _SYNTAX_PLACE.search(str(error))
        line, column = len(lines), len(lines[-1]) + 1
        if match and match[1]:
            line, column = int(match[1]), int(match[2])
        line_text = lines[line - 1] if line <= len(lines) else ""
        message = f"not TOML: {_SYNTAX_PLACE.sub('', str(error))}"
        help = 'text needs quotes: key = "text"' if "Invalid value" in message else None
        raise ConfigError([Problem(message, source, Place(line, column, 1), line_text, help)]) from error


def lines_of(text: str) -> list[str]:
    """The lines of a TOML text."""
    # As TOML counts them: str.splitlines also breaks at form feeds and U+2028.
    return [line.removesuffix("\r") for line in text.split("\n")]


def _nearby_file(path: Path) -> str | None:
    """The file that was probably meant."""
    try:
        names = [p.name for p in path.parent.glob("*.toml") if p.name != path.name]
    except OSError:
        return None
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / close[0]}?" if close else None
