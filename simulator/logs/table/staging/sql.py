"""SQL of DuckDB: values and names as it writes them, and what queries answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from numpy.typing import NDArray


def literal(value: object) -> str:
    """A value as SQL writes text."""
    return "'" + str(value).replace("'", "''") + "'"


def path_literal(path: Path) -> str:
    """A path as SQL takes it for a file and for no pattern."""
    return literal(re.sub(r"([*?[])", r"[\1]", str(path)))


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def whole_number(text: str) -> str:
    """SQL of the whole number that SQL of a text is, or null."""
    form = r"[+-]?[0-9]{1,19}(\.0*)?"
    return f"case when regexp_full_match({text}, '{form}') then try_cast({text} as bigint) end"


def whole_id(text: str) -> str:
    """SQL of the whole number that SQL of an id's text is, or null.

    With zeros in front it is text: 007 is another id than 7. As 7.0 a number is written where others miss.
    """
    form = r"[+-]?(0|[1-9][0-9]{0,18})(\.0*)?"
    return f"case when regexp_full_match({text}, '{form}') then try_cast({text} as bigint) end"


def arrays(db: duckdb.DuckDBPyConnection, query: str) -> dict[str, NDArray[Any]]:
    """A query's columns; masked where there are nulls."""
    found: Any = db.execute(query).fetchnumpy()
    columns: dict[str, NDArray[Any]] = found
    return columns


def streamed(db: duckdb.DuckDBPyConnection, query: str, rows: int) -> Iterator[pa.Table]:
    """The rows of a query, at most `rows` of them together; no other query may come in between."""
    for batch in db.sql(query).to_arrow_reader(rows):
        if len(batch):
            yield pa.Table.from_batches([batch])


def one(db: duckdb.DuckDBPyConnection, query: str, values: Sequence[object] = ()) -> Any:
    """A query's only value; `values` stand for its question marks."""
    # All of it, since a result that is not read to its end keeps the connection.
    rows = db.execute(query, list(values)).fetchall()
    return rows[0][0] if rows else None
