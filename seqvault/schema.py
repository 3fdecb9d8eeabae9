"""What one behaviour is: named integer columns with units, and the checks rows pass before they are stored.

The user id is the key of a history and no column. The first column is always the behaviour's time in seconds;
a column called `scene` makes histories filterable by scene.
"""

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqvault.errors import SchemaError

__all__ = ["BEHAVIOURS", "Array", "Column", "Columns", "HistorySchema", "SequenceType"]

# Names of files that are no segments.
_RESERVED = ("dict", "wal")
CODECS = ("auto", "delta", "frame", "dict")

Array = NDArray[Any]
#: Rows as columns: name -> (N,) integers.
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Column:
    """One column of a history.

    Args:
        name: identifier, unique in its schema.
        dtype: numpy integer type string, little endian: "i8", "u1", "u2", "u4", "u8", ...
        unit: unit of the values ("s"), empty for identifiers and codes.
        codec: how a store that codes columns should code it: "delta" for values that hardly fall, "frame" for
            small or even ones, "dict" for repeated ones; "auto" leaves the choice to the store.
        default: what behaviours written before the column existed read as.
    """

    name: str
    dtype: str
    unit: str = ""
    codec: str = "auto"
    default: int = 0

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise SchemaError(f"column name {self.name!r}: expected an identifier such as 'item_id'")
        if self.codec not in CODECS:
            raise SchemaError(f"column {self.name!r} has codec {self.codec!r}: expected {', '.join(CODECS)}")
        if self.dtype not in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
            raise SchemaError(
                f"column {self.name!r} has dtype {self.dtype!r}: expected i1, i2, i4, i8, u1, u2, u4 or u8"
            )
        limits = np.iinfo(self.dtype)
        if not limits.min <= self.default <= limits.max:
            raise SchemaError(
                f"column {self.name!r} has default {self.default}: expected within "
                f"{limits.min}..{limits.max} ({self.dtype})"
            )


@dataclass(frozen=True)
class HistorySchema:
    """The columns of a history, in order; `time_s` (i8, seconds) first.

    `version` counts changes of the same named schema. A higher version may add columns and drop columns; a
    column of the same name keeps its dtype. A store opened with a higher version than it has evolves.
    """

    name: str
    version: int
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if not self.columns or (self.columns[0].name, self.columns[0].dtype) != ("time_s", "i8"):
            first = (self.columns[0].name, self.columns[0].dtype) if self.columns else None
            raise SchemaError(f"schema {self.name!r} begins with {first}: expected ('time_s', 'i8')")
        if len(set(self.names)) != len(self.columns):
            raise SchemaError(f"schema {self.name!r} repeats a column name: {self.names}")
        if len(self.columns) > 64:
            raise SchemaError(f"schema {self.name!r} has {len(self.columns)} columns: expected at most 64")

    # Cached: a read asks for them, and rebuilding the tuple costs 0.7 µs.
    @cached_property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def id(self) -> int:
        """The version's columns as 32 bits; stored bytes name the schema they were written under by it.

        Units, codecs and defaults are not part of it: they change no stored byte's meaning.
        """
        described = [self.name, self.version, *((column.name, column.dtype) for column in self.columns)]
        return zlib.crc32(json.dumps(described).encode())

    @property
    def row_bytes(self) -> int:
        """Bytes of one behaviour, uncompressed."""
        return sum(np.dtype(column.dtype).itemsize for column in self.columns)

    def dtype(self, name: str) -> np.dtype[np.generic]:
        """The numpy dtype of a column."""
        return np.dtype(self.columns[self.names.index(name)].dtype)

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready description; `from_dict` reads it back."""
        columns = [vars(column).copy() for column in self.columns]
        return {"name": self.name, "version": self.version, "columns": columns}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "HistorySchema":
        """The schema `to_dict` described. Raises SchemaError when the description is not one."""
        try:
            columns = tuple(Column(**c) for c in data["columns"])
            return cls(str(data["name"]), int(str(data["version"])), columns)
        except (KeyError, TypeError) as error:
            raise SchemaError(f"not a schema description: {data!r} ({error})") from error

    def check(self, user_ids: object, columns: Mapping[str, object]) -> tuple[Array, dict[str, Array]]:
        """Rows as contiguous arrays of the schema's dtypes.

        Args:
            user_ids: (N,) non-negative integers.
            columns: every column of the schema, (N,) integers each.

        Returns:
            user ids (N,) u8, and the columns in schema order.

        Raises:
            SchemaError: a column is missing, unknown, of another length, or holds a value its dtype cannot.
        """
        if set(columns) != set(self.names):
            raise SchemaError(
                f"columns {sorted(columns)}: expected exactly {sorted(self.names)} (schema {self.name!r})"
            )
        users = _as_integers("user_ids", user_ids, np.dtype("u8"))
        checked = {c.name: _as_integers(c.name, columns[c.name], np.dtype(c.dtype)) for c in self.columns}
        for name, values in checked.items():
            if values.shape != users.shape:
                raise SchemaError(
                    f"column {name!r} has {values.size} rows, user_ids {users.size}: expected equal"
                )
        return users, checked

    def chosen(self, columns: Sequence[str] | None) -> tuple[str, ...]:
        """The names to read: all of them for None. Raises SchemaError for a name the schema lacks."""
        if columns is None:
            return self.names
        if isinstance(columns, str):
            raise SchemaError(f"columns={columns!r}: expected a list of names, such as [{columns!r}]")
        if not columns:
            raise SchemaError("columns=[]: expected at least one name, or None for all columns")
        unknown = [name for name in columns if name not in self.names]
        if unknown:
            raise SchemaError(f"unknown columns {unknown}: schema {self.name!r} has {list(self.names)}")
        return tuple(dict.fromkeys(columns))


@dataclass(frozen=True)
class SequenceType:
    """One kind of history a store keeps for its users, such as their impressions.

    Args:
        name: lower-case letters, digits and underscores; names files.
        schema: its columns.
        cap: a history is its newest `cap` behaviours; None for all.
        ttl_s: maintenance at time T expires behaviours with time_s < T - ttl_s; None for never.
    """

    name: str
    schema: HistorySchema
    cap: int | None = None
    ttl_s: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", self.name) or self.name in _RESERVED:
            raise SchemaError(
                f"sequence name {self.name!r}: expected a lower-case letter, then letters, digits and "
                f"underscores, 64 at most, and not {' or '.join(_RESERVED)}"
            )
        for limit, value in (("cap", self.cap), ("ttl_s", self.ttl_s)):
            if value is not None and value < 1:
                raise SchemaError(f"sequence {self.name!r} has {limit}={value}: expected at least 1, or None")


def _as_integers(name: str, values: object, dtype: np.dtype[np.generic]) -> Array:
    array = np.asarray(values)
    if array.ndim != 1:
        raise SchemaError(f"{name!r} has shape {array.shape}: expected one dimension")
    if array.dtype != dtype:
        if array.size == 0:
            return np.empty(0, dtype)
        if array.dtype.kind not in "iub":
            raise SchemaError(f"{name!r} holds {array.dtype}: expected integers ({dtype})")
        limits = np.iinfo(dtype.str)
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise SchemaError(
                f"{name!r} spans {low}..{high}: expected within {limits.min}..{limits.max} ({dtype})"
            )
    return np.ascontiguousarray(array, dtype)


#: The schema of the simulator's behaviours.
BEHAVIOURS = HistorySchema(
    "behaviours",
    1,
    (
        Column("time_s", "i8", "s"),
        Column("item_id", "u8"),
        Column("category", "u2"),
        Column("action", "u1"),
        Column("scene", "u1"),
        Column("dwell_s", "u2", "s"),
    ),
)
