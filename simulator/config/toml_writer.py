"""Nested mappings as TOML: the same mapping gives the same bytes. The standard library only reads TOML."""

import math
import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_toml(table: Mapping[str, Any]) -> str:
    """Keys in the mapping's order, a table's own values before its sub-tables; None values are left out.

    Raises:
        ValueError: a value that TOML cannot hold, such as a date object or bytes.
    """
    lines: list[str] = []
    _write(table, (), lines)
    return "\n".join(lines).strip("\n") + "\n"


def _write(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    values = {key: value for key, value in table.items() if value is not None}
    if path and not all(isinstance(value, Mapping) for value in values.values()):
        lines += ["", f"[{'.'.join(_key(part) for part in path)}]"]
    lines += [
        f"{_key(key)} = {_value(value)}" for key, value in values.items() if not isinstance(value, Mapping)
    ]
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            _write(value, (*path, key), lines)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value).replace("+", "")
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return f"{{{inner}}}"
    raise ValueError(f"found {type(value).__name__} {value!r}; TOML holds text, numbers, booleans and lists.")


def _string(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(c, c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'
