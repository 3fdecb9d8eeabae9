"""Values from outside the experiment file: the environment, --set and --seed, in this order."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.config.errors import Problem

ENVIRONMENT_PREFIX = "LASER_AB_"
# Of each pair an experiment has one: whoever sets the one from outside means it in place of the file's other.
_INSTEAD_OF = {
    ("traffic", "load"): "requests_per_s",
    ("traffic", "requests_per_s"): "load",
    ("experiment", "treatment_share"): "split",
    ("experiment", "split"): "treatment_share",
}


@dataclass(frozen=True)
class Change:
    """A value from outside the file; `source` is how the user wrote it."""

    path: tuple[str, ...]
    value: Any
    source: str


def read_changes(
    overrides: Sequence[str], seed: int | None, environment: Mapping[str, str]
) -> tuple[list[Change], list[Problem]]:
    """All of them, the later winning over the earlier, and what could not be understood."""
    changes: list[Change] = []
    problems: list[Problem] = []
    for name in sorted(environment):
        path = tuple(part.lower() for part in name.removeprefix(ENVIRONMENT_PREFIX).split("__"))
        # Other LASER_AB_ variables, such as LASER_AB_DEBUG, are no keys of the file.
        if name.startswith(ENVIRONMENT_PREFIX) and (len(path) > 1 or path[0] == "seed"):
            changes.append(Change(path, toml_value(environment[name]), f"environment variable {name}"))
    for override in overrides:
        flag = f"--set {override}"
        key, equals, value = override.partition("=")
        parts = tuple(part.strip().strip("\"'") for part in key.split("."))
        if not equals or not all(parts):
            problems.append(
                Problem("expected KEY=VALUE", flag, help="for example --set experiment.level=0.9")
            )
        else:
            changes.append(Change(parts, toml_value(value.strip()), flag))
    if seed is not None:
        changes.append(Change(("seed",), seed, f"--seed {seed}"))
    return changes, problems


def read_toml(text: str) -> dict[str, Any]:
    """`tomllib.loads`, whose only error is its own.

    Raises:
        tomllib.TOMLDecodeError: not TOML; or numbers or nesting that are too much for the reader.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError("lists or tables are nested too deeply") from None
    except ValueError as error:
        raise tomllib.TOMLDecodeError(str(error)) from error


def toml_value(text: str) -> Any:
    """A value as the command line has it: TOML, or text where it is none."""
    try:
        parsed = read_toml(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def apply_changes(data: dict[str, Any], changes: Sequence[Change]) -> list[Problem]:
    """Put values into the file's data; what a value is meant in place of leaves, unless it is asked for too.

    Returns:
        What could not be put anywhere.
    """
    problems = [problem for change in changes for problem in _apply(data, change)]
    asked = {change.path for change in changes if change.value is not None}
    for table, key in asked & set(_INSTEAD_OF):
        other = _INSTEAD_OF[table, key]
        if (table, other) not in asked and isinstance(data.get(table), dict):
            data[table].pop(other, None)
    return problems


def _apply(data: dict[str, Any], change: Change) -> list[Problem]:
    """Put the value into the file's data."""
    table = data
    for i, part in enumerate(change.path[:-1]):
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            where = ".".join(change.path[: i + 1])
            return [Problem(f"`{where}` is a value, not a table", change.source)]
        table = inner
    table[change.path[-1]] = change.value
    return []
