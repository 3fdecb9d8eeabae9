"""A mapping's SQL expressions: what they may be, and what is wrong with one, at its line and column.

An expression sees one row and gives the same whenever it is asked, so that a log imported twice is equal.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from simulator.config.locate import KeyPath
from simulator.logs.table.staging.load import Loaded
from simulator.logs.table.staging.mapping import Column, Mapping, Time
from simulator.logs.table.staging.sql import one

#: Clocks that SQL writes without parentheses, as columns are.
_BARE_CLOCKS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
#: What DuckDB counts as constant within a query, and is not between two.
_CLOCKS = _BARE_CLOCKS | {
    *("now", "today", "ago", "get_current_time", "get_current_timestamp", "transaction_timestamp"),
    *("current_localtime", "current_localtimestamp"),
}
_ONE_ROW = (
    "it sees one row: work out the column before the import, or compare the row's own columns, as do "
    "greatest(a, b), least(a, b), list_sum(l) and list_max(l)"
)
_SHOWN = 300  # characters of columns' names


@dataclass(frozen=True)
class Expression:
    """An expression of a mapping.

    Attributes:
        path: its key.
        sql: its text.
        of: whose rows it sees: "impressions", "behaviours" or "items".
    """

    path: KeyPath
    sql: str
    of: str


def expressions(mapping: Mapping) -> list[Expression]:
    """All SQL expressions of a mapping."""
    found = []
    for name in ("impressions", "items", "behaviours"):
        for key, field in getattr(mapping, name) or ():
            if isinstance(field, Column) and field.sql is not None:
                found.append(Expression((name, key), field.sql, "items" if field.of_items else name))
    if mapping.source.where is not None:
        found.append(Expression(("source", "where"), mapping.source.where, "impressions"))
    if mapping.behaviours is not None and mapping.behaviours.where is not None:
        found.append(Expression(("behaviours", "where"), mapping.behaviours.where, "behaviours"))
    return found


def check_expressions(db: duckdb.DuckDBPyConnection, loaded: Loaded) -> None:
    """Refuse expressions that look beyond their row or change from one import to the next.

    Raises:
        ConfigError: there is one; or a time's format is none.
    """
    for each in expressions(loaded.mapping):
        for node, within in _nodes(db, each.sql):
            wrong = _wrong(db, node, within, each.sql)
            if wrong is not None:
                loaded.refuse(each.path, f"`{_dotted(each.path)}`: {wrong[0]}", wrong[1])
    for name in ("impressions", "behaviours"):
        time = getattr(getattr(loaded.mapping, name), "time", None)
        if isinstance(time, Time) and time.format is not None:
            try:
                db.execute("select try_strptime('', ?)", [time.format])
            except duckdb.Error as problem:
                said = str(problem).split("\n")[0]
                help = 'such as "%Y-%m-%d %H:%M:%S", or "%m/%d/%Y" for 11/30/2000'
                loaded.refuse((name, "time", "format"), f"`{name}.time.format`: {said}", help)


def refuse_unusable(
    db: duckdb.DuckDBPyConnection,
    loaded: Loaded,
    of: str,
    rows: Callable[[Expression], str] | str,
    names: Sequence[str],
) -> None:
    """Say which expression it was that rows could not be mapped by; nothing where it was none.

    Args:
        db: where the rows are.
        loaded: the mapping.
        of: whose rows, as of an `Expression`.
        rows: SQL of the raw rows that an expression sees.
        names: the raw columns.

    Raises:
        ConfigError: there is one.
    """
    for each in expressions(loaded.mapping):
        if each.of == of:
            try:
                seen = rows if isinstance(rows, str) else rows(each)
                db.execute(f"select count({each.sql}) from {seen}").fetchall()
            except duckdb.Error as problem:
                said, help = _explained(problem, names)
                loaded.refuse(each.path, f"`{_dotted(each.path)}`: {said}", help)


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _explained(problem: duckdb.Error, names: Sequence[str]) -> tuple[str, str]:
    """What DuckDB found wrong with an expression, and what to do."""
    said = str(problem).split("\n")[0]
    if isinstance(problem, duckdb.ParserException):
        help = "a name that SQL reserves stands in double quotes, as in sql = '\"at\"'"
    elif "Referenced column" in said and "not found" in said:
        close = difflib.get_close_matches(said.split('"')[1].lower(), [n.lower() for n in names], n=1)
        meant = next((name for name in names if close and name.lower() == close[0]), None)
        listed = ", ".join(names)
        listed = listed if len(listed) <= _SHOWN else f"{listed[:_SHOWN]}..."
        help = (f"did you mean {meant}? " if meant else "") + f"the columns are {listed}"
    else:
        help = "raw columns of text are text: compare with '1', or use try_cast"
    return said, help


def _nodes(db: duckdb.DuckDBPyConnection, text: str) -> list[tuple[dict[str, Any], bool]]:
    """The parts of an expression, each with whether it is in a query within it.

    None of what is no SQL: it is refused where it is first used.
    """
    tree = json.loads(one(db, "select json_serialize_sql(?)", [f"select ({text})"]))
    return [] if tree["error"] else list(_parts(tree["statements"][0]["node"]["select_list"], False))


def _parts(tree: Any, within: bool) -> Iterator[tuple[dict[str, Any], bool]]:
    if isinstance(tree, list):
        for each in tree:
            yield from _parts(each, within)
    elif isinstance(tree, dict):
        if "class" in tree or tree.get("type") == "BASE_TABLE":
            yield tree, within
        for each in tree.values():
            yield from _parts(each, within or tree.get("class") == "SUBQUERY")


def _wrong(
    db: duckdb.DuckDBPyConnection, node: dict[str, Any], within: bool, text: str
) -> tuple[str, str] | None:
    """What an expression may not be, and what to do. A query within it may gather a list's elements."""
    kind, name = node.get("class"), str(node.get("function_name", "")).lower()
    if kind is None:
        table = str(node["table_name"])
        if re.search(rf"\b{re.escape(table)}\s+as\s*\(", text, re.IGNORECASE):
            return None  # a part of the query, named by `with`
        return f"it reads the table {table}, expected an expression over one row", _ONE_ROW
    if kind == "COLUMN_REF":
        column = node["column_names"][-1].lower()
        bare = len(node["column_names"]) == 1 and f'"{column}"' not in text.lower()
        name = column if bare and column in _BARE_CLOCKS else ""
    if not within and (
        kind == "WINDOW" or (kind == "FUNCTION" and _is(db, name, "function_type = 'aggregate'"))
    ):
        of = "a window over rows" if kind == "WINDOW" else "an aggregate over rows"
        return f"{name} is {of}, expected an expression over one row", _ONE_ROW
    volatile = kind == "FUNCTION" and name != "error" and _is(db, name, "stability = 'VOLATILE'")
    since_today = kind == "FUNCTION" and name == "age" and len(node["arguments"]) == 1
    if volatile or since_today or (name in _CLOCKS and kind in ("FUNCTION", "COLUMN_REF")):
        return (
            f"{name} gives something else each time, expected the same for the same row",
            "draw by the row's ids, as in md5_number_lower(uid) % 100 < 10",
        )
    return None


def _is(db: duckdb.DuckDBPyConnection, name: str, condition: str) -> bool:
    query = f"select count(*) from duckdb_functions() where function_name = ? and {condition}"
    return bool(one(db, query, [name]))
