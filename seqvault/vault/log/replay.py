"""Replay: what a log held, and where a crash tore it.

A record that fails its checksum ends a log. Whatever follows it was never acknowledged, or else the failure
is damage: every record names the last change that was known to be durable when it was written, and only when
a later record says so of the failed one does opening refuse to forget it. Otherwise loss of power may have
kept a later record and lost an earlier one, neither acknowledged. A torn log is never written to again: the
next change goes to a new one, so that nothing behind the tear can come back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from seqvault.errors import DamagedDataError
from seqvault.schema import Array, Columns, HistorySchema
from seqvault.vault.disk.files import close, open_file, read_at, size_of
from seqvault.vault.disk.identity import LogFile
from seqvault.vault.log.change import Change
from seqvault.vault.log.record import DELETE, EXPIRE, MAGIC, ROWS, Records, salt_of
from seqvault.vault.log.wal import HEAD_BYTES, check_log

__all__ = ["LogRead", "changes", "follow_log", "read_log"]

# Rows that are put into the tails at once.
_ROWS_AT_ONCE = 1 << 18
# Looked at by a follower at first; a log that nobody writes to costs it this much.
_FOLLOWED_BYTES = 1 << 14


@dataclass(frozen=True)
class LogRead:
    """Valid records of a log.

    Args:
        data: (N,) u1 bytes that `found` points into.
        found: (K,) record.FOUND.
        end: byte of the file behind the last of them.
        sequence: number of the last change; the one before the log where it holds none.
        torn_bytes: bytes behind the end, up to the last that is not zero.
    """

    data: Array
    found: Array
    end: int
    sequence: int
    torn_bytes: int


def read_log(path: Path, log: LogFile, records: Records, sequence: int) -> LogRead:
    """Read a log whose changes follow number `sequence`.

    Raises:
        DamagedDataError: the file is missing, no log, or damaged before its last durable record.
        StrangerError: it is another log.
    """
    data, end, salt = _bytes(path, log), log.end, salt_of(log.number, log.id)
    stop = len(data) if end is None else end
    found = records.scan(data, HEAD_BYTES, min(stop, len(data)), salt)
    found, last = _in_sequence(found, sequence)
    at = int(found["place"][-1] + found["size"][-1]) if len(found) else HEAD_BYTES
    damaged = at != stop if end is not None else _durable_beyond(data, at, salt, records) > last
    if damaged:
        raise DamagedDataError(
            f"{path}, byte {at}: the record of change {last + 1} is damaged, and was acknowledged; restore "
            "the file from backup"
        )
    # Zeros up to the end were reserved, or never got to the disk.
    written = np.flatnonzero(data[at:stop])
    return LogRead(data, found, at, last, int(written[-1]) + 1 if len(written) else 0)


def follow_log(fd: int, path: Path, log: LogFile, records: Records, read: LogRead) -> LogRead:
    """What was written behind an earlier read of the same log, which a writer may be writing to."""
    left, window, salt = size_of(fd) - read.end, _FOLLOWED_BYTES, salt_of(log.number, log.id)
    while True:
        # Not all there is: most of it may be zeros, reserved for records to come.
        data = np.frombuffer(bytearray(read_at(fd, max(0, min(left, window)), read.end, path)), "u1")
        found, last = _in_sequence(records.scan(data, 0, len(data), salt), read.sequence)
        end = int(found["place"][-1] + found["size"][-1]) if len(found) else 0
        if len(data) >= left or not _goes_on(data[end:]):
            return LogRead(data, found, read.end + end, last, 0)
        window *= 8


def _goes_on(data: Array) -> bool:
    """Whether these bytes may begin a record whose end is not among them."""
    head = data[: len(MAGIC)].tobytes()
    return MAGIC.startswith(head) and (
        len(data) < 8 or int.from_bytes(data[4:8].tobytes(), "little") > len(data)
    )


def changes(read: LogRead, records: Records, versions: Sequence[Sequence[HistorySchema]]) -> Iterator[Change]:
    """The changes in order; rows of many small appends come together, in the newest version of the schema.

    Args:
        versions: each sequence's schema versions.

    Raises:
        DamagedDataError: a record names a sequence or schema the store does not have.
    """
    found = read.found
    changing = found[np.isin(found["kind"], (ROWS, DELETE, EXPIRE))]
    for group in _alike(changing):
        kind, table, sequence = (int(group[-1][name]) for name in ("kind", "table", "sequence"))
        if kind == DELETE:
            users, columns = records.read(read.data, group, [(0, np.dtype("u8"))])[0], {}
        elif kind == EXPIRE:
            users = np.empty(0, "u8")
            columns = {"floor_s": records.read(read.data, group, [(0, np.dtype("i8"))])[0]}
        else:
            newest, written = _schemas(group[-1], versions)
            users, columns = _rows(read.data, group, records, written, newest)
        yield Change(sequence, kind, table, users, columns)


def _alike(found: Array) -> Iterator[Array]:
    """Runs of records that are read in one go: of one kind, sequence and schema; EXPIRE alone."""
    if not len(found):
        return
    keys = np.stack([found[name].astype("i8") for name in ("kind", "table", "schema", "columns")])
    rows = np.cumsum(found["rows"], dtype="i8") // _ROWS_AT_ONCE
    new = np.any(keys[:, 1:] != keys[:, :-1], axis=0) | (rows[1:] != rows[:-1])
    new |= found["kind"][1:] == EXPIRE
    edges = [0, *(np.flatnonzero(new) + 1).tolist(), len(found)]
    for start, end in pairwise(edges):
        yield found[start:end]


def _schemas(head: Array, versions: Sequence[Sequence[HistorySchema]]) -> tuple[HistorySchema, HistorySchema]:
    """(newest version, version the record was written under)."""
    if head["table"] < len(versions):
        of_sequence = versions[int(head["table"])]
        for version in of_sequence:
            if version.id == head["schema"] and len(version.columns) + 1 == head["columns"]:
                return of_sequence[-1], version
    raise DamagedDataError(
        f"a record of the log names sequence {head['table']}, schema {head['schema']:#010x}: the manifest "
        "has no such; restore the manifest and the log from the same backup"
    )


def _rows(
    data: Array, group: Array, records: Records, written: HistorySchema, newest: HistorySchema
) -> tuple[Array, dict[str, Array]]:
    """(user ids, columns of the newest version) of ROWS written under one version."""
    stored = [name for name in newest.names if name in written.names]
    wanted: list[tuple[int, np.dtype[np.generic]]] = [(0, np.dtype("u8"))]
    wanted += [(1 + written.names.index(name), newest.dtype(name)) for name in stored]
    users, *values = records.read(data, group, wanted)
    return users, _with_defaults(dict(zip(stored, values, strict=True)), newest, len(users))


def _with_defaults(stored: Columns, schema: HistorySchema, rows: int) -> dict[str, Array]:
    """The schema's columns, of those stored or of their defaults."""
    return {
        column.name: stored[column.name]
        if column.name in stored
        else np.full(rows, column.default, column.dtype)
        for column in schema.columns
    }


def _bytes(path: Path, log: LogFile) -> Array:
    try:
        fd = open_file(path)
    except FileNotFoundError as error:
        raise DamagedDataError(f"{path} is missing: the manifest names it; restore it from backup") from error
    try:
        data = np.frombuffer(bytearray(read_at(fd, size_of(fd), 0, path)), "u1")
    finally:
        close(fd)
    check_log(path, data, log)
    return data


def _in_sequence(found: Array, sequence: int) -> tuple[Array, int]:
    """The records up to the first that is not the next one, and the last number among them."""
    steps = np.isin(found["kind"], (ROWS, DELETE, EXPIRE))
    expected = sequence + np.cumsum(steps)
    wrong = np.flatnonzero(found["sequence"] != expected.astype("u8"))
    kept = found[: wrong[0]] if len(wrong) else found
    return kept, int(expected[len(kept) - 1]) if len(kept) else sequence


def _durable_beyond(data: Array, at: int, salt: int, records: Records) -> int:
    """The highest change that a valid record behind byte `at` calls durable; 0 for none."""
    words = data[at : at + (len(data) - at) // 8 * 8].view("<u4")[::2]
    durable = 0
    passed = at
    for place in (at + 8 * np.flatnonzero(words == int.from_bytes(MAGIC, "little"))).tolist():
        if place < passed:
            continue
        found = records.scan(data, place, len(data), salt)
        if len(found):
            durable = max(durable, int(found["durable"].max()))
            passed = int(found["place"][-1] + found["size"][-1])
    return durable
