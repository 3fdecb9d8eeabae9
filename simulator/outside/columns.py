"""One column of a file of the user's, as numbers or as times. Start at `read_column`."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from simulator.config.columns import Unit
from simulator.errors import SimulatorError

F8 = NDArray[np.float64]

_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_ISO = 'epoch_us(try_cast("{name}" AS TIMESTAMP)) / 1e6'


class ColumnError(SimulatorError):
    """A column that is not there, or does not hold what was expected."""


def read_column(path: Path, column: str | int, unit: Unit = "s") -> F8:
    """A column's values in the order of the file, f8.

    Args:
        path: CSV (comma, tab, semicolon, space or bar), JSON lines (.json, .jsonl) or Parquet (.parquet);
            text may be gzip-compressed (.gz).
        column: its name; or its number, counted from 1, of text without a header.
        unit: "iso" for dates and times as text, which become seconds since 1970; else what the numbers count,
            and they become seconds where it is not "s".

    Raises:
        ColumnError: no such file or column, or a value that is no number or time (the message says where).
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise ColumnError(f"{path}: found {what}, expected a file. Check the path.")
    kind = Path(path.name.removesuffix(".gz")).suffix
    try:
        table = _table(path, kind, column)
        name = table.columns[column - 1] if isinstance(column, int) else column
        if name not in table.columns:
            known = ", ".join(map(repr, table.columns[:20]))
            raise ColumnError(
                f"{path}: found no column {name!r}, expected one of {known}. Name one of these."
            )
        quoted = name.replace('"', '""')
        value = _ISO.format(name=quoted) if unit == "iso" else f'try_cast("{quoted}" AS DOUBLE)'
        rows = table.project(f'{value} AS value, "{quoted}"::VARCHAR AS text')
        found = rows.fetchnumpy()
    except duckdb.Error as error:
        raise ColumnError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}). Write it again, or convert it."
        ) from error
    except IndexError:
        raise ColumnError(
            f"{path}: found {len(table.columns)} columns, expected a column {column}. Lower its number."
        ) from None
    values: F8 = np.ma.filled(np.ma.asarray(found["value"], dtype=np.float64), np.nan)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong) or len(values) == 0:
        at = f"row {wrong[0] + 1} holds {found['text'][wrong[0]]!r}" if len(wrong) else "it has no row"
        what = "a date and time" if unit == "iso" else "a number"
        raise ColumnError(
            f"{path}, column {name!r}: {at}, expected {what}. Leave such rows out, or fill them."
        )
    return values / _PER_SECOND.get(unit, 1.0)


def _table(path: Path, kind: str, column: str | int) -> duckdb.DuckDBPyRelation:
    connection = duckdb.connect()
    if kind == ".parquet":
        return connection.read_parquet(str(path))
    if kind in (".json", ".jsonl", ".ndjson"):
        return connection.read_json(str(path), format="newline_delimited")
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as file:
        head = file.readline()
    # Not left to the reader: it takes a few columns between spaces for one.
    delimiter = max(",;\t| ", key=head.count)
    return connection.read_csv(
        str(path), header=isinstance(column, str), all_varchar=True, delimiter=delimiter
    )
