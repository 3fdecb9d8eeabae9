"""Start here: what a history store promises (HistoryStore), what it returns, and how to open one.

Histories are read oldest behaviour first, ordered by (time_s, arrival): behaviours of equal time keep
the order in which they were written, and late ones are merged in. U counts users, N behaviours.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast, runtime_checkable

import numpy as np

from seqvault.errors import StoreError
from seqvault.query import NO_BOUND_S
from seqvault.schema import BEHAVIOURS, Array, Columns, HistorySchema

__all__ = [
    "NO_BOUND_S",
    "Columns",
    "HistoryBatch",
    "HistoryStore",
    "ReadTime",
    "open_store",
    "store_kinds",
]

_BUILT_IN = {
    "lastn": "seqvault.lastn:LastNStore",
    "memory": "seqvault.memory:MemoryStore",
    "seqvault": "seqvault.vault:SeqVault",
}


# Not frozen: making one then cost 2.5 times as much, with cold caches a tenth of reading 200 behaviours.
@dataclass(eq=False, slots=True)
class HistoryBatch:
    """Histories of U users in one set of flat arrays.

    Args:
        user_ids: (U,) u8, in the order asked for.
        offsets: (U+1,) i8; user i's behaviours are rows offsets[i]:offsets[i+1].
        columns: name -> (N,) array, N = offsets[-1]; oldest behaviour first, equal times in arrival order.
    """

    user_ids: Array
    offsets: Array
    columns: dict[str, Array]

    @property
    def lengths(self) -> Array:
        """(U,) i8: behaviours of each user."""
        return np.diff(self.offsets)

    def of(self, i: int) -> dict[str, Array]:
        """The columns of the i-th user asked for; views, not copies."""
        start, end = int(self.offsets[i]), int(self.offsets[i + 1])
        return {name: values[start:end] for name, values in self.columns.items()}

    def __len__(self) -> int:
        return len(self.user_ids)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return (self.of(i) for i in range(len(self)))

    @classmethod
    def gather(
        cls, schema: HistorySchema, user_ids: Array, names: Sequence[str], parts: Sequence[Columns | None]
    ) -> "HistoryBatch":
        """One batch from each user's columns, in order; None is an empty history."""
        lengths = [0 if part is None else len(part[names[0]]) for part in parts]
        offsets = np.zeros(len(parts) + 1, "i8")
        np.cumsum(lengths, out=offsets[1:])
        full = [part for part in parts if part is not None]
        columns: dict[str, Array] = {}
        for name in names:
            arrays = [part[name] for part in full]
            columns[name] = np.concatenate(arrays) if arrays else np.empty(0, schema.dtype(name))
        return cls(user_ids, offsets, columns)


@dataclass(frozen=True)
class ReadTime:
    """How long a read took, in wall seconds.

    Args:
        call_s: the whole call as the caller waited for it.
        own_s: the store's own work within it, without what only the language binding costs; at most call_s.
    """

    call_s: float
    own_s: float


@runtime_checkable
class HistoryStore(Protocol):
    """Stores behaviour histories by user. Every kind behaves the same; they differ in cost and durability.

    Reading methods share their arguments, and apply them in this order:

    - `user_ids` (U,) may repeat and may be unknown (an empty history).
    - A bound in time; `scenes` and `actions`: only behaviours whose scene, whose action is one of these.
    - `distinct` names a column; of its equal values only the newest behaviour is left. Bounds and filters
      come first: `distinct="item_id", actions=[CLICK]` is each item's last click.
    - `n` counts what is left.
    - `columns` names the columns to return (None: all); a filter's column need not be among them.
    - `sequence` names the sequence to read where a store holds several; None is its first.

    They raise SchemaError for columns that the schema lacks and values that a column cannot hold,
    DamagedDataError for bytes that fail their checksum, StoreClosedError after close().
    """

    @property
    def schema(self) -> HistorySchema:
        """The schema the store was made with."""
        ...

    def append(self, user_ids: object, columns: Columns) -> bool | None:
        """Add behaviours; all of them are durable when it returns, or none is kept.

        Args:
            user_ids: (N,) the user of each row; users may be mixed.
            columns: every schema column, (N,), rows in arrival order. Times may be older than stored ones.

        Returns:
            False where the store knows that it has these very rows already (see SeqVault.append).

        Raises:
            SchemaError: the columns do not fit the schema.
            StoreReadOnlyError, StoreFullError, StoreClosedError: as their names say.
        """
        ...

    def bulk_load(self, user_ids: object, columns: Columns) -> None:
        """As append, made for large loads. A crash before it returns may leave part of the rows."""
        ...

    def read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        columns: Sequence[str] | None = None,
        scenes: Sequence[int] | None = None,
        actions: Sequence[int] | None = None,
        distinct: str | None = None,
        sequence: str | None = None,
    ) -> HistoryBatch:
        """Each user's newest n behaviours with time_s < before_s.

        Args:
            n: at most so many behaviours a user, >= 0.
            before_s: seconds, one for all or (U,); None, or 2**63 - 1, for no bound.
        """
        ...

    def read_range(
        self,
        user_ids: object,
        start_s: float,
        end_s: float,
        *,
        columns: Sequence[str] | None = None,
        scenes: Sequence[int] | None = None,
        actions: Sequence[int] | None = None,
        distinct: str | None = None,
        sequence: str | None = None,
    ) -> HistoryBatch:
        """Each user's behaviours with start_s <= time_s < end_s; an end of 2**63 - 1 is no bound."""
        ...

    def timed_read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        columns: Sequence[str] | None = None,
        scenes: Sequence[int] | None = None,
        actions: Sequence[int] | None = None,
        distinct: str | None = None,
        sequence: str | None = None,
    ) -> tuple[HistoryBatch, ReadTime]:
        """read_last, and what it cost. docs/storage.md says what each store's own_s covers."""
        ...

    def stats(self) -> dict[str, int | float]:
        """Counts and sizes: at least users, behaviours, bytes_on_disk."""
        ...

    def close(self) -> None:
        """Release files and locks. Closing twice is harmless."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_store(
    kind: str,
    path: Path | str,
    *,
    schema: HistorySchema = BEHAVIOURS,
    read_only: bool = False,
    **options: object,
) -> HistoryStore:
    """Open a store, making it if it does not exist.

    Args:
        kind: "lastn", "seqvault" or "memory"; the name of an entry point of group `laser_ab.stores`; or a
            dotted path "package.module:callable", called as `callable(path, schema=, read_only=, **options)`.
        path: the store's folder ("memory" keeps nothing there).
        read_only: refuse writes; several readers may then open the same store.
        options: the kind's own, such as layout="behaviours" for "lastn".

    Raises:
        StoreError: an unknown kind or option, or a store that does not open.
    """
    factory = _factory(kind)
    try:
        return factory(Path(path), schema=schema, read_only=read_only, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            raise StoreError(f"store kind {kind!r} got options {sorted(options)}: {error}") from error
        raise


def store_kinds() -> list[str]:
    """Names `open_store` knows: built in, and installed through the entry point group `laser_ab.stores`."""
    return sorted({*_BUILT_IN, *(point.name for point in entry_points(group="laser_ab.stores"))})


def _factory(kind: str) -> Callable[..., HistoryStore]:
    if kind in _BUILT_IN:
        return _load(_BUILT_IN[kind])
    for point in entry_points(group="laser_ab.stores"):
        if point.name == kind:
            return cast(Callable[..., HistoryStore], point.load())
    if ":" in kind:
        return _load(kind)
    raise StoreError(
        f"unknown store kind {kind!r}: expected one of {', '.join(store_kinds())}, "
        "or a path 'package.module:callable'"
    )


def _load(target: str) -> Callable[..., HistoryStore]:
    module, _, name = target.partition(":")
    try:
        return cast(Callable[..., HistoryStore], getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise StoreError(f"store {target!r} cannot be imported: {error}") from error
