"""Result tables to Parquet: checked against their schema, byte for byte reproducible."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

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
    if name not in SCHEMAS:
        raise ResultsError(path, f"found table {name!r}, expected one of {', '.join(SCHEMAS)}.", "Rename it.")
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


def write_parquet(path: Path, table: pa.Table) -> int:
    """Write a table with every choice of the writer fixed; equal tables give equal bytes.

    Returns:
        The file's size in bytes.
    """

    def write(file: IO[bytes]) -> None:
        pq.write_table(
            table,
            file,
            row_group_size=ROW_GROUP_ROWS,
            version="2.6",
            data_page_version="1.0",
            compression="zstd",
            compression_level=3,
            use_dictionary=True,
            write_statistics=True,
        )

    return write_atomic(path, write)


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
