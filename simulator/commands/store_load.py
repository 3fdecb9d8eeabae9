"""A Parquet file of behaviours into a store, the inverse of `dump`: streamed, and resumed where it stopped.

Columns are integers in a store. What a file holds besides becomes integers on its way in, by a description
that is kept in the store's folder, `columns.json`, and is turned back by `dump`:

    timestamp   whole seconds
    float       the bits of a float32 or float64
    text        a number for each distinct value, in the order in which they came: `COLUMN.values.json`
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqvault.errors import DamagedDataError, SchemaError, StoreError
from seqvault.schema import Column, HistorySchema
from simulator.errors import short
from simulator.results.files import json_text, write_text

if TYPE_CHECKING:
    import pyarrow as pa

    from seqvault.vault.store import SeqVault

__all__ = ["Kept", "columns_in", "load", "schema_of", "users_in"]

NAME = "columns.json"
# Rows that are loaded together, and numbered: a repeated load passes over those that are there.
_ROWS = 1 << 20
_BITS = {"float32": "u4", "float64": "u8"}
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY_S = 86_400


class Kept:
    """How columns of a store stand for other values: `kinds` by column, "text", "float32" or "float64".

    Args:
        folder: the store's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.kinds: dict[str, str] = {}
        self._values: dict[str, dict[str, int]] = {}
        if (folder / NAME).exists():
            self.kinds = _described(folder / NAME, dict)
        for column, kind in self.kinds.items():
            if kind == "text":
                values = _described(self._file(column), list)
                self._values[column] = {value: i for i, value in enumerate(values)}

    def describe(self, kinds: Mapping[str, str]) -> None:
        """Take over how columns are kept. Raises SchemaError where they are kept otherwise already."""
        for column, kind in kinds.items():
            if self.kinds.get(column, kind) != kind:
                raise SchemaError(f"column {column!r} is kept as {self.kinds[column]}, the file has {kind}")
        for column in kinds.keys() - self.kinds.keys():
            if kinds[column] == "text":
                self._values[column] = {}
                self._save(column)
        self.kinds.update(kinds)
        self._write(self._folder / NAME, self.kinds)

    def integers(self, column: str, values: pa.Array) -> NDArray[np.generic]:
        """A column of a file as the store keeps it; new texts are durable when this returns."""
        kind = self.kinds.get(column)
        if values.null_count:
            raise StoreError(f"column {column!r} has {values.null_count} empty values: fill or drop them")
        if kind in _BITS:
            bits: NDArray[np.generic] = values.to_numpy(zero_copy_only=False).astype(kind).view(_BITS[kind])
            return bits
        if kind == "text":
            coded = values.dictionary_encode()
            known = self._values[column]
            before = len(known)
            numbers = [known.setdefault(str(value), len(known)) for value in coded.dictionary.to_pylist()]
            if len(known) > before:
                self._save(column)
            chosen: NDArray[np.generic] = np.array(numbers, "u8")[
                coded.indices.to_numpy(zero_copy_only=False)
            ]
            return chosen
        found: NDArray[np.generic] = _seconds(values).to_numpy(zero_copy_only=False)
        return found

    def values(self, column: str, integers: NDArray[np.generic]) -> NDArray[np.generic]:
        """What the integers of a column stand for."""
        kind = self.kinds.get(column)
        if kind in _BITS:
            return integers.view(kind)
        if kind == "text":
            texts: NDArray[np.generic] = np.array(list(self._values[column]), object)[integers]
            return texts
        return integers

    def known(self, column: str, texts: list[str]) -> NDArray[np.generic]:
        """Numbers of those texts that there are."""
        numbers = self._values[column]
        return np.array([numbers[text] for text in texts if text in numbers], "u8")

    def _save(self, column: str) -> None:
        self._write(self._file(column), list(self._values[column]))

    def _file(self, column: str) -> Path:
        return self._folder / f"{column}.values.json"

    def _write(self, path: Path, value: object) -> None:
        write_text(path, json_text(value))


def _described(path: Path, kind: type) -> Any:
    """What `Kept` wrote. Raises DamagedDataError where it is not whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        found = error
    if not isinstance(found, kind):
        raise DamagedDataError(
            f"{path}: found {short(found)}, expected what a load wrote there: without it the integers of the "
            "store have no meaning. Copy it from a snapshot or backup."
        )
    return found


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever Arrow refuses about a file is about the file. Raises StoreError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(
            f"{path}: cannot be read as Parquet ({reason}). Write it again, or convert it."
        ) from error


def columns_in(path: Path) -> list[str]:
    """The columns of a Parquet file. Raises StoreError where it is none."""
    import pyarrow.parquet as pq

    with _explained(path):
        return list(pq.read_schema(path).names)


def schema_of(path: Path, sources: Mapping[str, str]) -> tuple[HistorySchema, dict[str, str]]:
    """A schema for a file's columns, and what the other than integers are kept as.

    Args:
        sources: column of the store -> column of the file; `user_id` and `time_s` among them.

    Raises:
        SchemaError: one is missing, or of a type that cannot be kept.
    """
    import pyarrow.parquet as pq

    with _explained(path):
        fields = pq.read_schema(path)
    kinds, columns = {}, []
    for name in ("user_id", "time_s", *sorted(sources.keys() - {"user_id", "time_s"})):
        source = sources.get(name, name)
        if source not in fields.names:
            raise SchemaError(
                f"{path} has no column {source!r} for {name}: it has {', '.join(fields.names)}; say which "
                f"with --map {name}=COLUMN"
            )
        dtype, kind = _kept_as(name, fields.field(source).type)
        if kind is not None:
            kinds[name] = kind
        if name != "user_id":
            columns.append(Column(name, "i8" if name == "time_s" else dtype, "s" if name == "time_s" else ""))
    return HistorySchema("loaded", 1, tuple(columns)), kinds


def load(store: SeqVault, path: Path, sources: Mapping[str, str], kept: Kept) -> Iterator[tuple[int, int]]:
    """Load a file, part by part; (rows done, rows of the file) behind each.

    A part is loaded once however often the file is, whatever its name: its content and the part's number
    make the number of a batch (SeqVault.bulk_load).

    Raises:
        SchemaError: values do not fit the store's columns.
        StoreError: empty values, or a file that cannot be read.
    """
    import pyarrow.parquet as pq

    names = {name: sources.get(name, name) for name in ("user_id", *store.schema.names)}
    with _explained(path):
        # Not its name and size: every day's export may have the same.
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        file = pq.ParquetFile(path)
        parts = file.iter_batches(_ROWS, columns=sorted(set(names.values())))
    done, total = 0, file.metadata.num_rows
    for number in itertools.count():
        with _explained(path):
            part = next(parts, None)
        if part is None:
            return
        columns = {name: kept.integers(name, part.column(source)) for name, source in names.items()}
        told = f"{digest} {sorted(names.items())} {number}"
        batch = int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "little")
        store.bulk_load(columns.pop("user_id"), columns, batch_id=batch)
        done += len(part)
        yield done, total


def users_in(file: Path, kept: Kept) -> NDArray[np.generic]:
    """User ids, one a line of a text file, or the first column of a Parquet file. Unknown texts are left out.

    Raises:
        StoreError: a line is no user id, or the file cannot be read.
    """
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        with _explained(file):
            given = [str(value) for value in pq.read_table(file).column(0).to_pylist()]
    else:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise StoreError(
                f"{file}: found no UTF-8 text ({error}), expected one user id a line."
            ) from error
        given = [line.strip() for line in text.splitlines() if line.strip()]
    if kept.kinds.get("user_id") == "text":
        return kept.known("user_id", given)
    try:
        return np.array([int(user) for user in given], "u8")
    except (ValueError, OverflowError) as error:
        raise StoreError(f"{file}: expected one user id a line ({error})") from error


def _kept_as(name: str, kind: Any) -> tuple[str, str | None]:
    """(dtype in the store, what it stands for) of a file's type."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_boolean(kind):
        return "u1", None
    if types.is_integer(kind):
        return np.dtype(kind.to_pandas_dtype()).str[1:], None
    if types.is_timestamp(kind) or types.is_date(kind):
        return "i8", None
    if types.is_floating(kind) and name not in ("user_id", "time_s"):
        form = "float32" if kind.bit_width <= 32 else "float64"
        return _BITS[form], form
    if (types.is_string(kind) or types.is_large_string(kind)) and name != "time_s":
        return "u8", "text"
    others = {"user_id": "integers or texts", "time_s": "integers or times"}
    expected = others.get(name, "integers, floats, texts or times")
    raise SchemaError(f"column {name!r} is of type {kind}: expected {expected}")


def _seconds(values: pa.Array) -> pa.Array:
    """Times as whole seconds, booleans as 0 and 1; integers as they are."""
    import pyarrow as pa
    import pyarrow.types as types

    if types.is_boolean(values.type):
        return values.cast(pa.uint8())
    kind = values.type
    if types.is_date32(kind):
        return pa.array(values.cast(pa.int32()).to_numpy(zero_copy_only=False).astype("i8") * _DAY_S)
    if types.is_date64(kind) or types.is_timestamp(kind):
        # Rounded down, also before 1970; in the file's own unit, for nanoseconds end in the year 2262.
        per = _PER_SECOND["ms" if types.is_date64(kind) else kind.unit]
        return pa.array(values.cast(pa.int64()).to_numpy(zero_copy_only=False) // per)
    return values
