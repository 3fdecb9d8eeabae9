"""Start here: what a history store promises (HistoryStore), what it returns, and how to open one.

Histories are read oldest behaviour first, ordered by (time_s, arrival): behaviours of equal time keep
the order in which they were written, and late ones are merged in. U counts users, N behaviours.
"""

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, Unpack, cast, runtime_checkable

from seqvault.batch import HistoryBatch, ReadTime
from seqvault.errors import StoreError
from seqvault.plugin import PluginStore, plugin_code
from seqvault.query import NO_BOUND_S, Conditions
from seqvault.schema import BEHAVIOURS, Columns, HistorySchema

__all__ = [
    "NO_BOUND_S",
    "Columns",
    "HistoryBatch",
    "HistoryStore",
    "ReadTime",
    "open_store",
    "store_kinds",
]

_ENTRY_POINTS = "laser_ab.stores"
_BUILT_IN = {
    "lastn": "seqvault.lastn:LastNStore",
    "memory": "seqvault.memory:MemoryStore",
    "seqvault": "seqvault.vault:SeqVault",
}


@runtime_checkable
class HistoryStore(Protocol):
    """Stores behaviour histories by user. Every kind behaves the same; they differ in cost and durability.

    Reading methods share their arguments (`query.Conditions` and these), and apply them in this order:

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
        sequence: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> HistoryBatch:
        """Each user's newest n behaviours with time_s < before_s.

        Args:
            n: at most so many behaviours per user, >= 0.
            before_s: seconds, one for all or (U,); None, or 2**63 - 1, for no bound.
        """
        ...

    def read_range(
        self,
        user_ids: object,
        start_s: float,
        end_s: float,
        *,
        sequence: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> HistoryBatch:
        """Each user's behaviours with start_s <= time_s < end_s; an end of 2**63 - 1 is no bound."""
        ...

    def timed_read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        sequence: str | None = None,
        **conditions: Unpack[Conditions],
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
        PluginError: a store of the user's own raised, or lacks a method.
    """
    given = {"schema": schema, "read_only": read_only, **options}
    target = _target(kind)
    if kind in _BUILT_IN:
        return _opened(kind, target, Path(path), given)
    with plugin_code(kind, "while being opened"):
        return PluginStore(kind, _opened(kind, target, Path(path), given))


def store_kinds() -> list[str]:
    """Names `open_store` knows: built in, and installed through the entry point group `laser_ab.stores`."""
    return sorted({*_BUILT_IN, *(point.name for point in entry_points(group=_ENTRY_POINTS))})


def _target(kind: str) -> str:
    """Where a kind's class is: "package.module:callable"."""
    if kind in _BUILT_IN:
        return _BUILT_IN[kind]
    for point in entry_points(group=_ENTRY_POINTS):
        if point.name == kind:
            return point.value
    if ":" in kind:
        return kind
    raise StoreError(
        f"unknown store kind {kind!r}: expected one of {', '.join(store_kinds())}, "
        "or a path 'package.module:callable'"
    )


def _opened(kind: str, target: str, path: Path, given: dict[str, object]) -> HistoryStore:
    factory = _load(target)
    try:
        return factory(path, **given)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            options = sorted(set(given) - {"schema", "read_only"})
            raise StoreError(f"store kind {kind!r} got options {options}: {error}") from error
        raise


def _load(target: str) -> Callable[..., HistoryStore]:
    module, _, name = target.partition(":")
    try:
        return cast(Callable[..., HistoryStore], getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise StoreError(
            f"store {target!r} cannot be imported: {error}. Expected 'package.module:callable' of an "
            "installed package, or of a folder on PYTHONPATH, with everything it needs."
        ) from error
