"""The experiment file's schema as fields of a form. What a form has no field for is written into the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One setting.

    Attributes:
        key: dotted, as of --set: "experiment.budget_ms".
        kind: "choice", "flag", or "text" for numbers, words and names, which the command line checks.
        choices: of a choice.
        default: as one would type it; empty where there is none.
        help: what it means.
    """

    key: str
    kind: Literal["choice", "flag", "text"]
    choices: tuple[str, ...]
    default: str
    help: str

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition(".")[2]


def tables(schema: Schema, arms: tuple[str, ...]) -> dict[str, list[Field]]:
    """The fields by the file's tables: "", "experiment", "traffic", each of the arms, "market" and so on.

    Args:
        schema: as `laser-ab config schema` prints it.
        arms: the arms' names, for a table each.
    """
    found: dict[str, list[Field]] = {"": list(_fields(schema, schema, ""))}
    for name, entry in schema["properties"].items():
        inner = _resolved(schema, entry)
        if name == "arms":
            arm = _resolved(schema, inner["additionalProperties"])
            found |= {f"arms.{one}": list(_fields(schema, arm, f"arms.{one}.")) for one in arms}
        elif "properties" in inner:
            found[name] = list(_fields(schema, inner, f"{name}."))
    return {table: fields for table, fields in found.items() if fields}


def _fields(schema: Schema, table: Schema, prefix: str) -> Iterator[Field]:
    for name, entry in table["properties"].items():
        field = _field(schema, entry, prefix + name)
        if field is not None:
            yield field


def _field(schema: Schema, entry: Schema, key: str) -> Field | None:
    """A setting's field; None for tables, lists, and what has only one value."""
    inner = _resolved(schema, entry)
    options = [_resolved(schema, one) for one in inner.get("anyOf") or [inner]]
    types = {one.get("type") for one in options}
    if "object" in types or "array" in types or any("const" in one for one in options):
        return None
    default = typed(inner.get("default"))
    text = str(entry.get("description") or inner.get("description") or "")
    if types == {"boolean"}:
        return Field(key, "flag", (), default, text)
    if all("enum" in one for one in options):
        return Field(
            key, "choice", tuple(str(one) for each in options for one in each["enum"]), default, text
        )
    return Field(key, "text", (), default, text)


def _resolved(schema: Schema, entry: Schema) -> Schema:
    """An entry with what it refers to; its own words win."""
    if "$ref" not in entry:
        return entry
    named: Schema = schema["$defs"][str(entry["$ref"]).rpartition("/")[2]]
    return {**named, **{key: value for key, value in entry.items() if key != "$ref"}}


def typed(value: Any) -> str:
    """A value as one types it after --set KEY=."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def lookup(file: Mapping[str, Any], key: str) -> str:
    """What an experiment file has for a key, as one would type it; empty where it has nothing."""
    value: Any = file
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return typed(value)
