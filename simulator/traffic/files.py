"""Trace and behaviours as Parquet files, with units in the column names.

Rows are sorted as the contracts say, row groups hold 65,536 rows, and a file appears whole or not
at all. Everything read is checked; what is wrong is a `TraceError` that says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simulator.scratch import gathered, slices_of
from simulator.traffic.behaviours import COLUMNS, Behaviours
from simulator.traffic.trace import DAY_S, PERIODS, Requests, TraceError

ROW_GROUP = 65_536
#: Lists of candidates read together: all requests' lists may hold more than the 2^31 ads that offsets count.
LISTS_AT_ONCE = 1 << 14

REQUESTS_SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.uint64(), nullable=False),
        pa.field("arrival_s", pa.float64(), nullable=False),
        pa.field("user_id", pa.uint64(), nullable=False),
        pa.field("candidates", pa.list_(pa.field("item", pa.uint64(), nullable=False)), nullable=False),
        pa.field("slots", pa.uint8(), nullable=False),
        pa.field("hour", pa.float32(), nullable=False),  # local hour of day
        pa.field("propensity_logit", pa.float32(), nullable=False),
        pa.field("period", pa.dictionary(pa.int8(), pa.string()), nullable=False),
    ]
)
BEHAVIOURS_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.uint64(), nullable=False),
        *(pa.field(n, pa.from_numpy_dtype(np.dtype(d)), nullable=False) for n, d in COLUMNS.items()),
    ]
)


def write_requests(path: Path, requests: Requests | Iterable[Requests]) -> None:
    """Write a trace, whole or in consecutive parts, of which one is held at a time.

    An existing file is replaced in one step.

    Raises:
        TraceError: the folder does not exist.
    """
    parts = [requests] if isinstance(requests, Requests) else requests
    with replacing(path, REQUESTS_SCHEMA) as writer:
        tables = (_request_rows(part, rows) for part in parts for rows in _groups_of(part))
        write_groups(writer, tables)


def _groups_of(requests: Requests) -> Iterator[slice]:
    # A group at a time, because candidates may stand in a file (`simulator.scratch`).
    return slices_of(len(requests), ROW_GROUP, requests.candidates)


def write_groups(writer: pq.ParquetWriter, tables: Iterable[pa.Table]) -> int:
    """Write tables as row groups of ROW_GROUP rows, however they were cut; how many rows they had."""
    waiting: list[pa.Table] = []
    written = 0
    for table in tables:
        waiting.append(table)
        written += len(table)
        if sum(map(len, waiting)) < ROW_GROUP:
            continue
        together = pa.concat_tables(waiting)
        whole = len(together) // ROW_GROUP * ROW_GROUP
        for first in range(0, whole, ROW_GROUP):
            writer.write_table(together.slice(first, ROW_GROUP).combine_chunks(), row_group_size=ROW_GROUP)
        waiting = [together.slice(whole)]
    if written % ROW_GROUP:
        writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=ROW_GROUP)
    return written


def _request_rows(requests: Requests, rows: slice) -> pa.Table:
    candidates = requests.candidates[rows]
    offsets = np.arange(len(candidates) + 1, dtype=np.int32) * candidates.shape[1]
    columns = [
        pa.array(requests.request_id[rows]),
        pa.array(requests.arrival_s[rows]),
        pa.array(requests.user_id[rows]),
        pa.ListArray.from_arrays(
            pa.array(offsets), pa.array(candidates.ravel()), type=REQUESTS_SCHEMA.field("candidates").type
        ),
        pa.array(requests.slots[rows]),
        pa.array(requests.hour[rows]),
        pa.array(requests.propensity[rows]),
        pa.DictionaryArray.from_arrays(pa.array(requests.period[rows].astype(np.int8)), pa.array(PERIODS)),
    ]
    return pa.Table.from_arrays(columns, schema=REQUESTS_SCHEMA)


def read_requests(path: Path) -> Requests:
    """Read a trace written by `write_requests`, or by anyone in its schema; its candidates lie in a file.

    Raises:
        TraceError: missing, damaged or empty file, missing or mistyped columns, nulls, candidate lists
            of different lengths, or rows that break the trace's rules.
    """
    table = read_table(path, REQUESTS_SCHEMA, apart=("candidates",))
    period = table["period"].cast(pa.string())
    unknown = sorted(set(pc.unique(period).to_pylist()) - set(PERIODS))
    if unknown:
        raise TraceError(
            f"{path}: unknown period {unknown[0]!r}, expected one of {', '.join(PERIODS)}. Rename it."
        )
    arrival_s = table["arrival_s"].to_numpy()
    candidates = gathered(_candidates(path))["ads"]
    try:
        return Requests(
            request_id=table["request_id"].to_numpy(),
            arrival_s=arrival_s,
            user_id=table["user_id"].to_numpy(),
            candidates=candidates,
            slots=table["slots"].to_numpy(),
            hour=table["hour"].to_numpy(),
            propensity=table["propensity_logit"].to_numpy(),
            period=pc.equal(period, PERIODS[1]).to_numpy().astype(np.uint8),
            day=np.floor(np.nan_to_num(arrival_s) / DAY_S).astype(np.int32),
        )
    except TraceError as problem:
        raise TraceError(f"{path}: {problem}") from None


def _candidates(path: Path) -> Iterator[dict[str, NDArray[np.uint64]]]:
    """(r, C) "ads" of r requests after the other, so few that their candidates are counted in 32 bits."""
    width: int | None = None
    for lists in _lists(path):
        lengths = np.diff(lists.offsets.to_numpy())
        width = int(lengths[0]) if width is None else width
        if (lengths != width).any() or width == 0:
            raise TraceError(
                f"{path}: candidate lists have {min(lengths.min(), width)} to {max(lengths.max(), width)} "
                "ads, expected one length above 0 for all requests. Cut or fill the lists to one length."
            )
        yield {"ads": lists.flatten().to_numpy().reshape(-1, width)}


def _lists(path: Path) -> Iterator[pa.ListArray]:
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
        for batch in file.iter_batches(LISTS_AT_ONCE, columns=["candidates"], use_threads=False):
            lists = batch.column(0)
            _refuse_nulls(path, "candidates", lists.null_count + lists.values.null_count)
            yield lists
    except (pa.ArrowException, OSError) as problem:
        raise _damaged(path, problem) from problem


def write_behaviours(path: Path, behaviours: Behaviours | Iterable[Behaviours]) -> int:
    """Write behaviours, whole or in consecutive groups of users (`World.behaviour_blocks()`).

    Only one group is held at a time.

    Returns:
        How many behaviours were written.

    Raises:
        TraceError: the folder does not exist, or a group's users do not follow the previous group's.
    """
    groups = behaviours.groups() if isinstance(behaviours, Behaviours) else behaviours
    with replacing(path, BEHAVIOURS_SCHEMA) as writer:
        return write_groups(writer, _behaviour_tables(groups))


def _behaviour_tables(groups: Iterable[Behaviours]) -> Iterator[pa.Table]:
    last_user = -1
    for group in groups:
        if len(group.users) and int(group.users[0]) <= last_user:
            raise TraceError(
                f"User {int(group.users[0])} comes after user {last_user}, expected ascending users. "
                "Write the groups in order."
            )
        last_user = int(group.users[-1]) if len(group.users) else last_user
        arrays = [pa.array(group.user_id), *(pa.array(c) for c in group.columns.values())]
        yield pa.Table.from_arrays(arrays, schema=BEHAVIOURS_SCHEMA)


def read_behaviours(path: Path) -> Behaviours:
    """Read behaviours; users without any have no entry.

    Raises:
        TraceError: missing, damaged or empty file, missing or mistyped columns, nulls, or rows not
            sorted by (user_id, time_s).
    """
    table = read_table(path, BEHAVIOURS_SCHEMA)
    user = table["user_id"].to_numpy()
    time_s = table["time_s"].to_numpy()
    ordered = (user[1:] > user[:-1]) | ((user[1:] == user[:-1]) & (time_s[1:] >= time_s[:-1]))
    if not ordered.all():
        row = int(np.argmin(ordered)) + 1
        raise TraceError(
            f"{path}, row {row}: user {user[row]} at {time_s[row]} s comes after user {user[row - 1]} at "
            f"{time_s[row - 1]} s, expected rows sorted by (user_id, time_s). Sort the file."
        )
    users, first = np.unique(user, return_index=True)
    offsets = np.concatenate([first, [len(user)]]).astype(np.int64)
    return Behaviours(users, offsets, time_s, *(table[n].to_numpy() for n in list(COLUMNS)[1:]))


@contextmanager
def replacing(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A writer beside `path`, moved into place when all went well."""
    path = Path(path)
    if not path.parent.is_dir():
        raise TraceError(
            f"{path.parent} is not a folder, expected one to write {path.name} in. Create it first."
        )
    beside = path.with_name(path.name + ".part")
    try:
        with pq.ParquetWriter(beside, schema, compression="zstd") as writer:
            yield writer
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_table(path: Path, schema: pa.Schema, apart: tuple[str, ...] = ()) -> pa.Table:
    """A whole Parquet file, checked against a schema.

    Args:
        path: the file.
        schema: the columns to read.
        apart: those that are read by the caller; here only their types are checked.

    Raises:
        TraceError: missing, damaged or empty file, missing or mistyped columns, or nulls.
    """
    path = Path(path)
    if not path.is_file():
        raise TraceError(
            f"{path} does not exist, expected a Parquet file. Check the path or write the file anew."
        )
    if path.stat().st_size == 0:
        raise TraceError(f"{path} is empty (0 bytes), expected a Parquet file. Write the file anew.")
    try:
        file = pq.ParquetFile(path)
        found = file.schema_arrow
        missing = [n for n in schema.names if n not in found.names]
        if missing:
            raise TraceError(
                f"{path} lacks column {', '.join(missing)}; found {', '.join(found.names)}. "
                f"Write all of: {', '.join(schema.names)}."
            )
        table = file.read(columns=[name for name in schema.names if name not in apart])
    except (pa.ArrowException, OSError) as problem:
        raise _damaged(path, problem) from problem
    if len(table) == 0:
        raise TraceError(f"{path} has no rows, expected at least one. Choose a longer period or more users.")
    for field in schema:
        if field.name not in apart:
            _refuse_nulls(path, field.name, table[field.name].null_count)
        kind = found.field(field.name).type
        if kind != field.type and not _same_kind(kind, field.type):
            raise TraceError(
                f"{path}: column {field.name} is {kind}, expected {field.type}. Write it in that type."
            )
    return table


def _refuse_nulls(path: Path, name: str, count: int) -> None:
    if count:
        raise TraceError(f"{path}: column {name} has {count} nulls, expected none. Fill them.")


def _damaged(path: Path, problem: Exception) -> TraceError:
    return TraceError(
        f"{path} is damaged or no Parquet file ({problem}). Restore it from a copy or write it anew."
    )


def _same_kind(found: pa.DataType, expected: pa.DataType) -> bool:
    """Differences that do not matter: a list's inner field and offsets, text with or without a dictionary."""
    if pa.types.is_list(expected):
        listed = pa.types.is_list(found) or pa.types.is_large_list(found)
        return bool(listed and found.value_type == expected.value_type)
    if pa.types.is_dictionary(expected):
        inner = found.value_type if pa.types.is_dictionary(found) else found
        return bool(pa.types.is_string(inner))
    return False
