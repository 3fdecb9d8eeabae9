"""Result tables to Parquet: checked against their schema, byte for byte reproducible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulator.results.errors import ResultsError
from simulator.results.files import write_atomic
from simulator.results.schemas import ROW_GROUP_ROWS, SCHEMAS


def as_table(
    name: str, data: Mapping[str, Any] | pa.Table, path: Path, schema: pa.Schema | None = None
) -> pa.Table:
    """Bring columns (numpy arrays, lists or Arrow) to the schema of table `name`, or another one.

    NaN in a float column means null. Row order is kept.

    Raises:
        ResultsError: unknown table, missing or extra columns, a wrong type, or nulls in a required
            column.
    """
    _known(name, path)
    schema = schema or SCHEMAS[name]
    found = list(data.column_names if isinstance(data, pa.Table) else data)
    if set(found) != set(schema.names):
        missing = sorted(set(schema.names) - set(found))
        extra = sorted(set(found) - set(schema.names))
        raise ResultsError(
            path,
            f"found columns missing {missing} and extra {extra}, expected those of `{name}`.",
            "Give exactly the columns of simulator.results.schemas.",
        )
    columns = [_column(field, data[field.name], path) for field in schema]
    rows = {len(column) for column in columns}
    if len(rows) > 1:
        raise ResultsError(path, f"found columns of {sorted(rows)} rows, expected one length.", "Align them.")
    return pa.Table.from_arrays(columns, schema=schema)


def write_parquet(
    path: Path,
    name: str,
    data: Mapping[str, Any] | pa.Table | Iterable[Mapping[str, Any]],
    schema: pa.Schema | None = None,
) -> tuple[int, int]:
    """Write table `name` with every choice of the writer fixed; equal tables give equal bytes.

    Args:
        path: of the file, which appears whole or not at all.
        data: its columns, or parts of them, one after another; how it is parted changes no byte.
        schema: see `as_table`.

    Returns:
        The file's size in bytes, and the table's rows.

    Raises:
        ResultsError: as `as_table`, or the disk is full.
    """
    _known(name, path)
    parts = [data] if isinstance(data, Mapping | pa.Table) else data
    rows, empty = 0, dict.fromkeys((schema or SCHEMAS[name]).names, ())

    def write(file: IO[bytes]) -> None:
        nonlocal rows
        options: dict[str, Any] = {"compression": "zstd", "compression_level": 3, "use_dictionary": True}
        options |= {"version": "2.6", "data_page_version": "1.0", "write_statistics": True}
        with pq.ParquetWriter(file, schema or SCHEMAS[name], **options) as writer:
            for group in _row_groups(parts):
                table = as_table(name, group or empty, path, schema)
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
                rows += table.num_rows

    size = write_atomic(path, write)
    return size, rows


def _row_groups(parts: Iterable[Mapping[str, Any] | pa.Table]) -> Iterator[dict[str, Any]]:
    """Columns of ROW_GROUP_ROWS rows each, the last ones of what is left; one group of no rows for none."""
    held: dict[str, list[Any]] = {}
    rows = 0
    for part in parts:
        names = part.column_names if isinstance(part, pa.Table) else list(part)
        length = max((len(part[name]) for name in names), default=0)
        for name in names:
            held.setdefault(name, []).append(part[name])
        rows += length
        while rows > ROW_GROUP_ROWS:
            whole = {name: _joined(columns) for name, columns in held.items()}
            yield {name: column[:ROW_GROUP_ROWS] for name, column in whole.items()}
            held = {name: [column[ROW_GROUP_ROWS:]] for name, column in whole.items()}
            rows -= ROW_GROUP_ROWS
    yield {name: _joined(columns) for name, columns in held.items()}


def _joined(columns: list[Any]) -> Any:
    if len(columns) == 1:
        return columns[0]
    if all(isinstance(column, np.ndarray) for column in columns):
        return np.concatenate(columns)
    return pa.concat_arrays([pa.array(column) for column in columns])


def _known(name: str, path: Path) -> None:
    if name not in SCHEMAS:
        raise ResultsError(path, f"found table {name!r}, expected one of {', '.join(SCHEMAS)}.", "Rename it.")


def _column(field: pa.Field, values: Any, path: Path) -> pa.Array:
    wanted = field.type
    encode = pa.types.is_dictionary(wanted)
    try:
        array = _array(values, wanted.value_type if encode else wanted)
        if encode:
            # Encoded afresh in order of appearance: the bytes depend on the values alone.
            array = array.dictionary_encode().cast(wanted)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ResultsError(
            path, f"column {field.name}: {error}; expected {wanted}.", "Convert the column first."
        ) from error
    if array.null_count and not field.nullable:
        raise ResultsError(
            path,
            f"column {field.name}: found {array.null_count} nulls (or NaN), expected a value in every row.",
            "Fill them, or drop the rows.",
        )
    return array


def _array(values: Any, wanted: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not isinstance(values, pa.Array):
        kind = getattr(getattr(values, "dtype", None), "kind", "")
        # Arrow takes numpy's numbers as they are, its strings only as Python's.
        return pa.array(values.tolist() if kind in {"U", "O"} else values, from_pandas=True).cast(wanted)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values.cast(wanted)
