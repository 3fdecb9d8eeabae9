"""Where each value of an experiment came from, and what is wrong with it in words. Start at `Origin`."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from simulator.config.errors import Problem
from simulator.config.locate import KeyPath, Place, find
from simulator.config.overrides import Change
from simulator.config.settings import ExperimentConfig
from simulator.errors import short


@dataclass(frozen=True)
class Origin:
    """A file's text and keys, and the overrides.

    Args:
        source: the file's name, for messages.
        lines: of its text.
        places: of its keys.
        changes: in the order in which they were applied.
        model: the file's tables.
    """

    source: str
    lines: list[str]
    places: dict[KeyPath, Place]
    changes: list[Change]
    model: type[BaseModel] = ExperimentConfig

    def change(self, path: KeyPath) -> Change | None:
        """The last override that set this key or a table around it."""
        return next((c for c in reversed(self.changes) if c.path == path[: len(c.path)]), None)

    def at(self, path: KeyPath, message: str, help: str | None = None, warning: bool = False) -> Problem:
        """A problem shown where the key, or its nearest parent, was written."""
        place_depth, place = find(self.places, path)
        change = self.change(path)
        if change is None:
            # A table that only overrides speak of: [arms.new] from --set arms.new.store=memory.
            nearest = max(self.changes, key=lambda c: _common(c.path, path), default=None)
            if nearest is not None and _common(nearest.path, path) > place_depth:
                change = nearest
        if change is not None:
            return Problem(message, change.source, help=help, warning=warning)
        place = place or Place(1, 1, 1)
        if not self.lines:  # no file: a configuration that was changed
            return Problem(message, self.source, help=help, warning=warning)
        line = self.lines[place.line - 1] if place.line <= len(self.lines) else ""
        return Problem(message, self.source, place, line, help, warning)

    def problem(self, details: ErrorDetails, data: Mapping[str, Any]) -> Problem:
        """pydantic's finding in this project's words."""
        context = details.get("ctx", {})
        path: KeyPath = tuple(str(part) if isinstance(part, str) else part for part in details["loc"])
        if context.get("at"):
            path = tuple(context["at"].split("."))
        path = _existing(path, data, keep_last=details["type"] == "missing")
        message, help = _words(details, path, self.model)
        if details["type"] == "missing":
            help = _meant_arm(path, data, self.changes) or help
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


def _words(details: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> tuple[str, str | None]:
    kind, found = details["type"], details["input"]
    dotted = ".".join(str(part) for part in path)
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1], model)
        table = ".".join(str(part) for part in path[:-1])
        where = f"in [{table}]" if table else "at the top level"
        return f"unknown key `{path[-1]}` {where}", suggest(str(path[-1]), known)
    if kind == "missing":
        return f"missing key `{dotted}`", _missing_help(path)
    if kind == "value":
        message = details["msg"]
    elif kind == "literal_error":
        message = f"found {short(found)}, expected {details.get('ctx', {}).get('expected', '')}"
    else:
        message = f"found {short(found)}, {_expected(details)}"
    choices = re.findall(r"[\"']([\w./-]+)[\"']", message.partition("expected")[2])
    close = difflib.get_close_matches(str(found), choices, n=1) if isinstance(found, str) else []
    return f"`{dotted}`: {message}" if dotted else message, f"did you mean `{close[0]}`?" if close else None


def _expected(details: ErrorDetails) -> str:
    """What was expected, without the names that the value has in Python."""
    kinds = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "model_type": "a table",
        "model_attributes_type": "a table",
        "dict_type": "a table",
        "string_type": "a text",
    }
    if details["type"] in kinds:
        return f"expected {kinds[details['type']]}"
    return details["msg"].replace("Input should be", "expected")


def _meant_arm(path: KeyPath, data: Mapping[str, Any], changes: Sequence[Change]) -> str | None:
    """The arm that an override meant when it misspelt its name, and so made another arm of one value."""
    if len(path) != 3 or path[0] != "arms":
        return None
    name, made = str(path[1]), {change.path[1] for change in changes if change.path[:1] == ("arms",)}
    others = [arm for arm in data["arms"] if arm != name and arm not in made]
    close = difflib.get_close_matches(name, others, n=1) if name in made else []
    return f"did you mean `arms.{close[0]}`?" if close else None


def _missing_help(path: KeyPath) -> str | None:
    examples: dict[KeyPath, str] = {
        ("traffic",): 'add [traffic] with preset = "demo"',
        ("arms",): "add at least two tables, such as [arms.control] and [arms.treatment]",
        ("store",): 'for example store = "lastn"',
        ("model",): 'for example model = "din"',
        ("history",): "for example history = 50",
    }
    return examples.get(path[-1:])


def _known_keys(path: KeyPath, top: type[BaseModel]) -> list[str]:
    """The keys a table may have, by walking the models."""
    model: Any = top
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(part))
            model = _table_of(field.annotation) if field else None
        else:  # dict[str, ArmSettings]: any name leads to the same table.
            model = (get_args(model) or (None, None))[-1]
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _table_of(annotation: Any) -> Any:
    """A field's type; of a table that may be left out, the table's."""
    tables = [a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
    return tables[0] if tables and get_origin(annotation) is not dict else annotation


def suggest(name: str, known: Sequence[str]) -> str | None:
    """The key that was probably meant, or all there are."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known keys: {', '.join(known)}" if known else None
