"""A table from a Parquet or CSV file as totals of units, a column at a time.

A file of 10^7 rows and many columns is never in memory as a whole if it is Parquet: each row's unit is kept
as a number, and each column is added up and let go. Start at `read_totals`.
"""

from __future__ import annotations

import csv
import difflib
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simulator.errors import SimulatorError, short

F8 = NDArray[np.float64]
_MAGIC = b"PAR1"
# Of larger numbers, and of columns of smaller ones, the squares of ratios leave the floating-point range.
_LARGEST, _SMALLEST = 1e70, 1e-70
_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)


class TableError(SimulatorError):
    """A table, or a column of it, that cannot be analysed."""


@dataclass(frozen=True)
class Totals:
    """Units and their totals.

    Attributes:
        arms: the arms' names, in order of appearance.
        arm: (U,) index into `arms`.
        rows: (U,) the unit's rows.
        of: by column, (U,) the unit's total.
        constant: columns that say the same in every row of a unit; of these the value is taken once.
    """

    arms: tuple[str, ...]
    arm: NDArray[np.int64]
    rows: NDArray[np.int64]
    of: dict[str, F8]
    constant: tuple[str, ...]


def read_totals(path: Path, unit: str, arm: str, columns: Sequence[str], once: Sequence[str] = ()) -> Totals:
    """Add up the columns by unit.

    Args:
        path: a Parquet or CSV file (comma, semicolon or tab; compressed by its ending), with a row per unit
            or per event.
        unit, arm: the columns that say whose row it is, and in which arm.
        columns: to be added up.
        once: those among them that describe a unit where all rows of each unit agree; then they are not
            added up, but taken once.

    Raises:
        TableError: the file cannot be read or is empty, a column is missing or comes twice, a value is
            missing, not a number, not finite or too large, or a unit is in two arms.
    """
    column = _open(path, (unit, arm, *columns))
    codes, names = _codes(column(unit, True), unit)
    arm_codes, arm_names = _codes(column(arm, True), arm)
    arm_of = _arm_of(codes, arm_codes, names, arm_names)
    totals: dict[str, F8] = {}
    constant = []
    count = np.bincount(codes, minlength=len(names))
    for name in dict.fromkeys(columns):
        values = _numbers(column(name, False), name)
        total: F8 = np.bincount(codes, weights=values, minlength=len(names)).astype(np.float64, copy=False)
        if name in once and len(values) > len(names) and _same_within(codes, values, total / count):
            total = total / count
            constant.append(name)
        totals[name] = total
    arms = tuple(str(a.as_py()) for a in arm_names)
    return Totals(arms, arm_of, count, totals, tuple(constant))


def _same_within(codes: NDArray[np.int64], values: F8, mean: F8) -> bool:
    """Whether rows of a unit agree, and units do not (a column of ones counts rows)."""
    return bool(np.ptp(mean) > 0 and np.allclose(values, mean[codes], rtol=1e-9, atol=0))


def _open(path: Path, wanted: Sequence[str]) -> Callable[[str, bool], pa.ChunkedArray]:
    """How to get a column by name; `True` asks for it as text where the file is text."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise TableError(f"{path}: found {what}, expected a Parquet or CSV file. Check the path.")
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise TableError(f"{path}: the file is empty, expected a Parquet or CSV table. Write it again.")
    try:
        return _parquet(path, wanted) if start == _MAGIC else _csv(path, wanted)
    except (pa.ArrowException, UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
        kind = "Parquet" if start == _MAGIC else "CSV"
        raise TableError(
            f"{path}: cannot be read as {kind} ({' '.join(str(error).split())}). "
            "Write it again, or convert it."
        ) from error


def _parquet(path: Path, wanted: Sequence[str]) -> Callable[[str, bool], pa.ChunkedArray]:
    file = pq.ParquetFile(path)
    _check_names(path, file.schema_arrow.names, wanted, file.metadata.num_rows)

    def column(name: str, as_text: bool) -> pa.ChunkedArray:
        return file.read(columns=[name]).column(0)

    return column


def _csv(path: Path, wanted: Sequence[str]) -> Callable[[str, bool], pa.ChunkedArray]:
    with pa.input_stream(str(path), compression="detect") as stream:
        head = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="").readline()
    delimiter = max(",;\t", key=head.count)
    names = next(csv.reader([head], delimiter=delimiter), [])
    _check_names(path, names, wanted, None)
    keys = wanted[:2]
    table = pc_csv.read_csv(
        path,
        parse_options=pc_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pc_csv.ConvertOptions(
            include_columns=list(dict.fromkeys(wanted)),
            # As text: "007" and "7" are two units.
            column_types=dict.fromkeys(keys, pa.string()),
            strings_can_be_null=True,
        ),
    )
    _check_names(path, names, wanted, table.num_rows)
    return lambda name, as_text: table.column(name)


def _check_names(path: Path, names: Sequence[str], wanted: Sequence[str], rows: int | None) -> None:
    for name in wanted:
        if names.count(name) > 1:
            raise TableError(
                f"{path}: found {names.count(name)} columns {name!r}, expected one. Rename the others."
            )
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            meant = f"Did you mean {close[0]!r}?" if close else "Name one of these."
            there = ", ".join(map(repr, names))
            there = there if len(there) < 300 else f"{there[:300]}..."
            raise TableError(f"{path}: found no column {name!r}, expected it among {there}. {meant}")
    if rows == 0:
        raise TableError(f"{path}: found no rows, expected at least two units an arm. Write it again.")


def _codes(column: pa.ChunkedArray, name: str) -> tuple[NDArray[np.int64], pa.Array]:
    """Each row's value as an index into the distinct values, in order of appearance."""
    values = column.combine_chunks()
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if values.null_count:
        row = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
        raise TableError(
            f"Column {name!r} is missing in {values.null_count} rows, the first is row {row + 1}; expected a "
            "value in every row. Leave these rows out, or fill them."
        )
    coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64, copy=False), coded.dictionary


def _numbers(column: pa.ChunkedArray, name: str) -> F8:
    kind = column.type
    if not any(is_kind(kind) for is_kind in _NUMERIC):
        raise TableError(
            f"Column {name!r} holds {kind}, such as {short(_first_text(column))}; expected numbers. "
            "Convert it, or name another column."
        )
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    values: F8 = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64, copy=False)
    bad = ~(np.abs(values) <= _LARGEST)  # NaN too
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        found = "no number" if np.isnan(values[row]) else f"{values[row]:g}"
        raise TableError(
            f"Column {name!r} has {int(bad.sum())} values that cannot be added up, the first is {found} in "
            f"row {row + 1}; expected numbers up to {_LARGEST:g}. Leave these rows out, fill them with 0 if "
            "nothing happened, or use a larger unit."
        )
    top = float(np.abs(values).max(initial=0.0))
    if 0 < top < _SMALLEST:
        raise TableError(
            f"Column {name!r} has no number beyond {top:g}, expected some of {_SMALLEST:g} or more. Use a "
            "smaller unit."
        )
    return values


def _first_text(column: pa.ChunkedArray) -> Any:
    """The value that made a column no numbers: the first that is none."""
    for value in column.drop_null()[:100_000].to_pylist():
        try:
            float(value)
        except (TypeError, ValueError):
            return value
    return None


def _arm_of(
    codes: NDArray[np.int64], arm: NDArray[np.int64], names: pa.Array, arm_names: pa.Array
) -> NDArray[np.int64]:
    """(U,) each unit's arm."""
    own = np.zeros(len(names), np.int64)
    own[codes] = arm  # the last row's
    torn = np.flatnonzero(own[codes] != arm)
    if len(torn):
        row = torn[0]
        both = " and ".join(repr(str(arm_names[int(a)].as_py())) for a in (arm[row], own[codes[row]]))
        many = len(np.unique(codes[torn]))
        name = str(names[int(codes[row])].as_py())
        raise TableError(
            f"{many} units are in two arms, such as {name!r} in {both}; expected one arm a unit. "
            "Leave such units out, or name the column that was randomised."
        )
    return own
