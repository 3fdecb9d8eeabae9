"""Histories of a store as a file of behaviours: Parquet, CSV or JSON lines, written as they are read.

One row per behaviour: `user_id`, then the schema's columns; users ascending, each history oldest first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from seqvault.errors import DamagedDataError
from seqvault.query import NO_LIMIT
from seqvault.schema import HistorySchema
from simulator.commands.store_load import Kept

if TYPE_CHECKING:
    import pyarrow as pa

    from seqvault.vault.store import SeqVault

Form = Literal["parquet", "csv", "jsonl"]
FORMS: tuple[Form, ...] = ("parquet", "csv", "jsonl")

# Rows written together. Users are read one at a time, so that memory holds this many rows and one history.
_ROWS = 1 << 17

Part = dict[str, NDArray[np.generic]]


@dataclass
class Dumped:
    """What a dump wrote.

    Attributes:
        damaged: users left out because their bytes fail their checksums, and the store's words for it.
    """

    users: int = 0
    behaviours: int = 0
    damaged: dict[int, str] = field(default_factory=dict)


def form_of(out: Path | None) -> Form:
    """The form that a file's name asks for; JSON lines for any other name, and for none."""
    ending = "" if out is None else out.suffix.removeprefix(".").lower()
    return next((form for form in FORMS if form == ending), "jsonl")


def dump(
    store: SeqVault,
    users: Iterable[int],
    form: Form,
    file: IO[bytes],
    *,
    sequence: str | None = None,
    skip_damaged: bool = False,
) -> Dumped:
    """Write the users' histories to an open file.

    Args:
        sequence: whose histories, of several; None for the first.
        skip_damaged: leave out users whose bytes are damaged instead of stopping at the first.

    Raises:
        DamagedDataError: a user's bytes are damaged.
        OSError: the file cannot be written.
    """
    done = Dumped()
    schemas = {kind.name: kind.schema for kind in store.sequences}
    kept = Kept(store.path)
    writer = _WRITERS[form](file, _arrow_schema(schemas[sequence or store.sequences[0].name], kept.kinds))
    for part in _parts(store, users, sequence, skip_damaged, done):
        writer.write({name: kept.values(name, values) for name, values in part.items()})
    writer.close()
    return done


def _parts(
    store: SeqVault, users: Iterable[int], sequence: str | None, skip_damaged: bool, done: Dumped
) -> Iterator[Part]:
    """Runs of users' rows, of at least _ROWS rows but for the last."""
    waiting: list[Part] = []
    rows = 0
    for user in users:
        ids = np.array([user], "u8")
        try:
            history = store.read_last(ids, NO_LIMIT, sequence=sequence).columns
        except DamagedDataError as error:
            if not skip_damaged:
                raise
            done.damaged[user] = str(error)
            continue
        found = len(history["time_s"])
        if not found:
            continue
        waiting.append({"user_id": np.full(found, user, "u8"), **history})
        done.users, done.behaviours, rows = done.users + 1, done.behaviours + found, rows + found
        if rows >= _ROWS:
            yield _joined(waiting)
            waiting, rows = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[Part]) -> Part:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Writer(Protocol):
    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None: ...

    def write(self, part: Part) -> None: ...

    def close(self) -> None: ...


class _Parquet:
    """One row group per part."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._schema = schema
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, part: Part) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.table(part, self._schema))

    def close(self) -> None:
        self._writer.close()


class _Csv:
    """A header and one line per behaviour."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        from pyarrow import csv

        self._schema = schema
        # Its own header would put the names into quotes.
        file.write((",".join(self._schema.names) + "\n").encode())
        self._writer = csv.CSVWriter(file, self._schema, write_options=csv.WriteOptions(include_header=False))

    def write(self, part: Part) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.table(part, self._schema))

    def close(self) -> None:
        self._writer.close()


class _JsonLines:
    """One object per behaviour; ids are whole numbers, also beyond 2**53."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file = file

    def write(self, part: Part) -> None:
        names = list(part)
        rows = zip(*(values.tolist() for values in part.values()), strict=True)
        lines = (json.dumps(dict(zip(names, row, strict=True))) for row in rows)
        self._file.write(("\n".join(lines) + "\n").encode())

    def close(self) -> None:
        self._file.flush()


_WRITERS: dict[Form, type[_Writer]] = {"parquet": _Parquet, "csv": _Csv, "jsonl": _JsonLines}


def _arrow_schema(schema: HistorySchema, kinds: Mapping[str, str]) -> pa.Schema:
    """Of a store's columns, as what they stand for."""
    import pyarrow as pa

    other = {"text": pa.string(), "float32": pa.float32(), "float64": pa.float64()}
    fields = [pa.field("user_id", other.get(kinds.get("user_id", ""), pa.uint64()))]
    for column in schema.columns:
        unit = {"unit": column.unit} if column.unit else None
        own = pa.from_numpy_dtype(np.dtype(column.dtype))
        fields.append(pa.field(column.name, other.get(kinds.get(column.name, ""), own), metadata=unit))
    return pa.schema(fields)
