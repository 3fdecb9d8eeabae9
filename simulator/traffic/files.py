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
import pyarrow.parquet as pq

from simulator.scratch import let_go
from simulator.traffic.behaviours import COLUMNS, Behaviours
from simulator.traffic.trace import DAY_S, PERIODS, Requests, TraceError

ROW_GROUP = 65_536

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


def write_requests(path: Path, requests: Requests) -> None:
    """Write a trace; an existing file is replaced in one step.

    Raises:
        TraceError: the folder does not exist.
    """
    with replacing(path, REQUESTS_SCHEMA) as writer:
        # A group at a time, because candidates may stand in a file (`simulator.scratch`).
        for first in range(0, len(requests), ROW_GROUP):
            writer.write_table(_request_rows(requests, slice(first, first + ROW_GROUP)))
            let_go(requests.candidates)


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
    """Read a trace written by `write_requests`, or by anyone in its schema.

    Raises:
        TraceError: missing, damaged or empty file, missing or mistyped columns, nulls, candidate lists
            of different lengths, or rows that break the trace's rules.
    """
    table = read_table(path, REQUESTS_SCHEMA)
    lists = table["candidates"].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks)
    lengths = np.diff(lists.offsets.to_numpy())
    if (lengths != lengths[0]).any() or lengths[0] == 0:
        raise TraceError(
            f"{path}: candidate lists have {lengths.min()} to {lengths.max()} ads, expected one length "
            "above 0 for all requests. Cut or fill the lists to one length."
        )
    names = table["period"].cast(pa.string()).to_numpy()
    unknown = sorted(set(names) - set(PERIODS))
    if unknown:
        raise TraceError(
            f"{path}: unknown period {unknown[0]!r}, expected one of {', '.join(PERIODS)}. Rename it."
        )
    arrival_s = table["arrival_s"].to_numpy()
    try:
        return Requests(
            request_id=table["request_id"].to_numpy(),
            arrival_s=arrival_s,
            user_id=table["user_id"].to_numpy(),
            candidates=lists.flatten().to_numpy().reshape(-1, int(lengths[0])),
            slots=table["slots"].to_numpy(),
            hour=table["hour"].to_numpy(),
            propensity=table["propensity_logit"].to_numpy(),
            period=(names == PERIODS[1]).astype(np.uint8),
            day=np.floor(np.nan_to_num(arrival_s) / DAY_S).astype(np.int32),
        )
    except TraceError as problem:
        raise TraceError(f"{path}: {problem}") from None


def write_behaviours(path: Path, behaviours: Behaviours | Iterable[Behaviours]) -> int:
    """Write behaviours, whole or in consecutive groups of users (`World.behaviour_blocks()`).

    Only one group is held at a time.

    Returns:
        How many behaviours were written.

    Raises:
        TraceError: the folder does not exist, or a group's users do not follow the previous group's.
    """
    groups = [behaviours] if isinstance(behaviours, Behaviours) else behaviours
    waiting, written, last_user = BEHAVIOURS_SCHEMA.empty_table(), 0, -1
    with replacing(path, BEHAVIOURS_SCHEMA) as writer:
        for group in groups:
            if len(group.users) and int(group.users[0]) <= last_user:
                raise TraceError(
                    f"User {int(group.users[0])} comes after user {last_user}, expected ascending users. "
                    "Write the groups in order."
                )
            last_user = int(group.users[-1]) if len(group.users) else last_user
            arrays = [pa.array(group.user_id), *(pa.array(c) for c in group.columns.values())]
            waiting = pa.concat_tables([waiting, pa.Table.from_arrays(arrays, schema=BEHAVIOURS_SCHEMA)])
            # Whole row groups only: the layout must not depend on how the users were grouped.
            whole = len(waiting) // ROW_GROUP * ROW_GROUP
            if whole:
                writer.write_table(waiting.slice(0, whole), row_group_size=ROW_GROUP)
                waiting = waiting.slice(whole)
            written += len(group)
        if len(waiting):
            writer.write_table(waiting, row_group_size=ROW_GROUP)
    return written


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


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """A whole Parquet file, checked against a schema.

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
        table = file.read(columns=schema.names)
    except (pa.ArrowException, OSError) as problem:
        raise TraceError(
            f"{path} is damaged or no Parquet file ({problem}). Restore it from a copy or write it anew."
        ) from problem
    if len(table) == 0:
        raise TraceError(f"{path} has no rows, expected at least one. Choose a longer period or more users.")
    for field in schema:
        column = table[field.name]
        if column.null_count:
            raise TraceError(
                f"{path}: column {field.name} has {column.null_count} nulls, expected none. Fill them."
            )
        if column.type != field.type and not _same_kind(column.type, field.type):
            raise TraceError(
                f"{path}: column {field.name} is {column.type}, expected {field.type}. Write it in that type."
            )
    return table


def _same_kind(found: pa.DataType, expected: pa.DataType) -> bool:
    """Differences that do not matter: a list's inner field name, text with or without a dictionary."""
    if pa.types.is_list(expected):
        return bool(pa.types.is_list(found) and found.value_type == expected.value_type)
    if pa.types.is_dictionary(expected):
        inner = found.value_type if pa.types.is_dictionary(found) else found
        return bool(pa.types.is_string(inner))
    return False
