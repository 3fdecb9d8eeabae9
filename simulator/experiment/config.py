"""Load, check and write experiment files. Start at `load_config`; the tables are in `settings.py`.

Precedence: file < environment (LASER_AB_EXPERIMENT__LEVEL=0.9) < --set experiment.level=0.9 < --seed.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from simulator.experiment.config_errors import ConfigError, Problem
from simulator.experiment.locate import KeyPath, Place, find, locate_keys
from simulator.experiment.settings import (
    Arm,
    Experiment,
    ExperimentConfig,
    Market,
    Traffic,
    Training,
)
from simulator.experiment.toml_writer import write_toml
from simulator.world.config import WorldConfig, preset, presets

__all__ = [
    "Arm",
    "ConfigError",
    "Experiment",
    "ExperimentConfig",
    "Market",
    "Problem",
    "Traffic",
    "Training",
    "load_config",
    "parse_config",
    "to_toml",
    "world_config",
]

ENVIRONMENT_PREFIX = "LASER_AB_"
_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load_config(
    path: Path,
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
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(
            [Problem(f"cannot read the experiment file: {reason}", str(path), help=_nearby_file(path))]
        ) from error
    return parse_config(
        text,
        source=str(path),
        folder=path.resolve().parent,
        overrides=overrides,
        seed=seed,
        environment=os.environ if environment is None else environment,
    )


def parse_config(
    text: str,
    source: str = "experiment.toml",
    folder: Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> ExperimentConfig:
    """`load_config` for a text: `source` names it in messages, `folder` is what its paths are relative to."""
    data, places = _parse(text, source)
    changes, problems = _changes(overrides, seed, environment or {})
    origin = _Origin(source, text.splitlines(), places, changes)
    for change in changes:
        problems += _apply(data, change)
    if not problems:
        experiment = data.setdefault("experiment", {})
        if isinstance(experiment, dict):
            experiment.setdefault("name", Path(source).stem or "experiment")
        _resolve_paths(data, origin, folder or Path.cwd())
        try:
            config = ExperimentConfig.model_validate(data)
        except ValidationError as error:
            problems = [origin.problem(details, data) for details in error.errors()]
        else:
            problems = _world_problems(config, origin)
            if not problems:
                return config
    raise ConfigError(
        sorted(problems, key=lambda p: (p.place is None, p.place and (p.place.line, p.place.column)))
    )


def to_toml(config: ExperimentConfig) -> str:
    """The resolved file: every value written out, in the models' order. Loading it gives the same config."""
    return write_toml(config.model_dump(mode="json"))


def world_config(config: ExperimentConfig) -> WorldConfig:
    """The world the file asks for: its preset with the file's own values in place of the preset's.

    Raises:
        ValueError: an unknown preset, an unknown parameter, or a value the world refuses.
    """
    replaced: dict[str, Any] = dict(config.traffic.world)
    for name, value in (
        ("days", config.experiment.days),
        ("pre_days", config.experiment.pre_days),
        ("slots", config.market.slots),
    ):
        if value is not None:
            replaced[name] = value
    assert config.traffic.preset is not None
    return preset(config.traffic.preset, **replaced)


# ---- overrides ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Change:
    """A value from outside the file; `source` is how the user wrote it."""

    path: tuple[str, ...]
    value: Any
    source: str


def _changes(
    overrides: Sequence[str], seed: int | None, environment: Mapping[str, str]
) -> tuple[list[_Change], list[Problem]]:
    changes: list[_Change] = []
    problems: list[Problem] = []
    for name in sorted(environment):
        path = tuple(part.lower() for part in name.removeprefix(ENVIRONMENT_PREFIX).split("__"))
        # Other LASER_AB_ variables, such as LASER_AB_DEBUG, are no keys of the file.
        if name.startswith(ENVIRONMENT_PREFIX) and (len(path) > 1 or path[0] == "seed"):
            changes.append(_Change(path, _toml_value(environment[name]), f"environment variable {name}"))
    for override in overrides:
        flag = f"--set {override}"
        key, equals, value = override.partition("=")
        parts = tuple(part.strip().strip("\"'") for part in key.split("."))
        if not equals or not all(parts):
            problems.append(
                Problem("expected KEY=VALUE", flag, help="for example --set experiment.level=0.9")
            )
        else:
            changes.append(_Change(parts, _toml_value(value.strip()), flag))
    if seed is not None:
        changes.append(_Change(("seed",), seed, f"--seed {seed}"))
    return changes, problems


def _toml_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _apply(data: dict[str, Any], change: _Change) -> list[Problem]:
    table = data
    for i, part in enumerate(change.path[:-1]):
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            where = ".".join(change.path[: i + 1])
            return [Problem(f"`{where}` is a value, not a table", change.source)]
        table = inner
    table[change.path[-1]] = change.value
    return []


def _resolve_paths(data: dict[str, Any], origin: "_Origin", folder: Path) -> None:
    """Make paths absolute: those of the file from its folder, those of flags from where the user stands."""
    tables = [(("experiment",), "profile")]
    if isinstance(data.get("arms"), dict):
        tables += [(("arms", name), "checkpoint") for name in data["arms"]]  # type: ignore[misc]
    for parents, key in tables:
        table: Any = data
        for parent in parents:
            table = table.get(parent, {}) if isinstance(table, dict) else {}
        value = table.get(key) if isinstance(table, dict) else None
        bare_name = key == "profile" and isinstance(value, str) and not re.search(r"[/\\]|\.json$", value)
        if isinstance(value, str) and value and not bare_name:
            base = Path.cwd() if origin.change((*parents, key)) else folder
            table[key] = str((base / Path(value).expanduser()).resolve())


# ---- problems ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Origin:
    """Where each value came from."""

    source: str
    lines: list[str]
    places: dict[KeyPath, Place]
    changes: list[_Change]

    def change(self, path: KeyPath) -> _Change | None:
        """The last override that set this key or a table around it."""
        return next((c for c in reversed(self.changes) if c.path == path[: len(c.path)]), None)

    def at(self, path: KeyPath, message: str, help: str | None = None) -> Problem:
        """A problem shown where the key, or its nearest parent, was written."""
        place_depth, place = find(self.places, path)
        change = self.change(path)
        if change is None:
            # A table that only overrides speak of: [arms.new] from --set arms.new.store=memory.
            nearest = max(self.changes, key=lambda c: _common(c.path, path), default=None)
            if nearest is not None and _common(nearest.path, path) > place_depth:
                change = nearest
        if change is not None:
            return Problem(message, change.source, help=help)
        place = place or Place(1, 1, 1)
        line = self.lines[place.line - 1] if place.line <= len(self.lines) else ""
        return Problem(message, self.source, place, line, help)

    def problem(self, details: ErrorDetails, data: Mapping[str, Any]) -> Problem:
        """pydantic's finding in this project's words."""
        context = details.get("ctx", {})
        path: KeyPath = tuple(str(part) if isinstance(part, str) else part for part in details["loc"])
        if context.get("at"):
            path = tuple(context["at"].split("."))
        path = _existing(path, data, keep_last=details["type"] == "missing")
        message, help = _words(details, path)
        return self.at(path, message, help)


def _common(one: KeyPath, other: KeyPath) -> int:
    """How many first parts two paths share."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _existing(path: KeyPath, data: Any, keep_last: bool) -> KeyPath:
    """Cut pydantic's own parts (a union's branch, a mapping's "[key]") off the end of a path."""
    for i, part in enumerate(path):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return path if keep_last and i == len(path) - 1 else path[:i]
    return path


def _words(details: ErrorDetails, path: KeyPath) -> tuple[str, str | None]:
    kind, found = details["type"], details["input"]
    dotted = ".".join(str(part) for part in path)
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        table = ".".join(str(part) for part in path[:-1])
        where = f"in [{table}]" if table else "at the top level"
        return f"unknown key `{path[-1]}` {where}", _suggest(str(path[-1]), known)
    if kind == "missing":
        return f"missing key `{dotted}`", _missing_help(path)
    if kind == "value":
        message = details["msg"]
    elif kind == "literal_error":
        message = f"found {found!r}, expected {details.get('ctx', {}).get('expected', '')}"
    else:
        message = f"found {_short(found)}, {details['msg'].replace('Input should be', 'expected')}"
    choices = re.findall(r"[\"']([\w./-]+)[\"']", message.partition("expected")[2])
    close = difflib.get_close_matches(str(found), choices, n=1) if isinstance(found, str) else []
    return f"`{dotted}`: {message}" if dotted else message, f"did you mean `{close[0]}`?" if close else None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _missing_help(path: KeyPath) -> str | None:
    examples = {
        ("traffic",): 'add [traffic] with preset = "demo"',
        ("arms",): "add at least two tables, such as [arms.control] and [arms.treatment]",
        ("store",): 'for example store = "lastn"',
        ("model",): 'for example model = "din"',
        ("history",): "for example history = 50",
    }
    return examples.get(path[-1:])  # type: ignore[arg-type]


def _known_keys(path: KeyPath) -> list[str]:
    """The keys a table may have, by walking the models."""
    model: Any = ExperimentConfig
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(part))
            model = field.annotation if field else None
        else:  # dict[str, Arm]: any name leads to the same table.
            model = (get_args(model) or (None, None))[-1]
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _suggest(name: str, known: Sequence[str]) -> str | None:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known keys: {', '.join(known)}" if known else None


def _world_problems(config: ExperimentConfig, origin: _Origin) -> list[Problem]:
    """What the world itself refuses: the preset's name, parameters it does not have, values out of range."""
    name = config.traffic.preset or ""
    if name not in presets():
        close = difflib.get_close_matches(name, presets(), n=1)
        help = f"did you mean `{close[0]}`?" if close else None
        message = f"`traffic.preset`: no preset {name!r}; expected one of {', '.join(presets())}"
        return [origin.at(("traffic", "preset"), message, help)]
    known = [field.name for field in fields(WorldConfig) if field.name != "preset"]
    unknown = [key for key in config.traffic.world if key not in known]
    if unknown:
        return [
            origin.at(
                ("traffic", "world", key), f"unknown key `{key}` in [traffic.world]", _suggest(key, known)
            )
            for key in unknown
        ]
    try:
        world_config(config)
    except (ValueError, TypeError) as error:
        # The world names the parameter; `days` and its like stand elsewhere in the file.
        named = [key for key in known if re.search(rf"\b{key}\b", str(error))]
        elsewhere = {"days": "experiment", "pre_days": "experiment", "slots": "market"}
        paths: list[KeyPath] = [("traffic", "world", key) for key in named if key in config.traffic.world]
        paths += [
            (elsewhere[key], key)
            for key in named
            if key in elsewhere and getattr(getattr(config, elsewhere[key]), key) is not None
        ]
        return [origin.at(paths[0] if paths else ("traffic", "world"), f"the world refuses it: {error}")]
    return []


def _parse(text: str, source: str) -> tuple[dict[str, Any], dict[KeyPath, Place]]:
    try:
        return tomllib.loads(text), locate_keys(text)
    except tomllib.TOMLDecodeError as error:
        lines = text.splitlines() or [""]
        match = _SYNTAX_PLACE.search(str(error))
        line, column = len(lines), len(lines[-1]) + 1
        if match and match[1]:
            line, column = int(match[1]), int(match[2])
        line_text = lines[line - 1] if line <= len(lines) else ""
        message = f"not TOML: {_SYNTAX_PLACE.sub('', str(error))}"
        help = 'text needs quotes: key = "text"' if "Invalid value" in message else None
        raise ConfigError([Problem(message, source, Place(line, column, 1), line_text, help)]) from error


def _nearby_file(path: Path) -> str | None:
    try:
        names = [p.name for p in path.parent.glob("*.toml")]
    except OSError:
        return None
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / close[0]}?" if close else "`laser-ab config init` prints a template"
