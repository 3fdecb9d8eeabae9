"""A user's own store, held to the protocol: its failures are named, and each read's form is checked.

What it costs, some tens of microseconds per call, lies outside the time that the store reports for a read.
"""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from seqvault.batch import HistoryBatch, ReadTime
from seqvault.errors import PluginError, StoreError
from seqvault.query import NO_BOUND_S, bound_s, users_of
from seqvault.schema import Array, Columns, HistorySchema

_METHODS = ("append", "bulk_load", "read_last", "read_range", "timed_read_last", "stats", "close")
_FRAMES = 3  # the last ones of the traceback: where the plug-in failed


@contextmanager
def plugin_code(kind: str, doing: str) -> Iterator[None]:
    """Name the plug-in in whatever its code raises.

    A StoreError says itself what to do, and an OSError what the system lacks: both pass with the name as a
    note. A plug-in that calls `sys.exit` has failed like any other.

    Raises:
        PluginError: its code raised, with the last lines of the traceback.
    """
    try:
        yield
    except (PluginError, KeyboardInterrupt, MemoryError):
        raise
    except (StoreError, OSError) as error:
        error.add_note(f"Store plug-in {kind!r} raised it {doing}.")
        raise
    except BaseException as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.line][-_FRAMES:]
        lines = [f"  {frame.filename}:{frame.lineno}, in {frame.name}: {frame.line}" for frame in frames]
        raise PluginError(
            "\n".join(
                [
                    f"store plug-in {kind!r} raised {type(error).__name__} {doing}: {error}",
                    *lines,
                    "Correct the plug-in; docs/plugins.md says what it is called with.",
                ]
            )
        ) from error


class PluginStore:
    """A HistoryStore around another. What the protocol does not name is looked up in the inner one."""

    def __init__(self, kind: str, store: Any) -> None:
        """Wrap a store that was opened.

        Args:
            kind: what the user called it: an entry point or a dotted path.
            store: what it led to.

        Raises:
            PluginError: it lacks a method of the protocol, or its schema is none.
        """
        self._kind, self._store = kind, store
        missing = [name for name in _METHODS if not callable(getattr(store, name, None))]
        if missing:
            raise PluginError(
                f"store plug-in {kind!r} is a {type(store).__name__} without {', '.join(missing)}, expected "
                "every method of seqvault.HistoryStore. Add them; docs/plugins.md has an example."
            )
        with plugin_code(kind, "in schema"):
            schema = getattr(store, "schema", None)
        if not isinstance(schema, HistorySchema):
            raise PluginError(
                f"store plug-in {kind!r} has schema {schema!r}, expected the HistorySchema it was opened "
                "with. Keep the argument as `self.schema`."
            )
        self._schema = schema

    @property
    def schema(self) -> HistorySchema:
        """See HistoryStore.schema."""
        return self._schema

    def append(self, user_ids: object, columns: Columns, **given: Any) -> bool | None:
        """See HistoryStore.append."""
        with plugin_code(self._kind, "in append"):
            known: bool | None = self._store.append(user_ids, columns, **given)
        return known

    def bulk_load(self, user_ids: object, columns: Columns, **given: Any) -> None:
        """See HistoryStore.bulk_load."""
        with plugin_code(self._kind, "in bulk_load"):
            self._store.bulk_load(user_ids, columns, **given)

    def read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        columns: Sequence[str] | None = None,
        **given: Any,
    ) -> HistoryBatch:
        """See HistoryStore.read_last; a read of another form is refused."""
        with plugin_code(self._kind, "in read_last"):
            batch = self._store.read_last(user_ids, n, before_s=before_s, columns=columns, **given)
        return self._checked("read_last", batch, user_ids, columns, n, before_s)

    def read_range(
        self,
        user_ids: object,
        start_s: float,
        end_s: float,
        *,
        columns: Sequence[str] | None = None,
        **given: Any,
    ) -> HistoryBatch:
        """See HistoryStore.read_range; a read of another form is refused."""
        with plugin_code(self._kind, "in read_range"):
            batch = self._store.read_range(user_ids, start_s, end_s, columns=columns, **given)
        return self._checked("read_range", batch, user_ids, columns, None, end_s)

    def timed_read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        columns: Sequence[str] | None = None,
        **given: Any,
    ) -> tuple[HistoryBatch, ReadTime]:
        """See HistoryStore.timed_read_last; a read of another form is refused."""
        name = "timed_read_last"
        with plugin_code(self._kind, f"in {name}"):
            read = self._store.timed_read_last(user_ids, n, before_s=before_s, columns=columns, **given)
        if not isinstance(read, tuple) or len(read) != 2 or not isinstance(read[1], ReadTime):
            raise self._broken(name, f"a {type(read).__name__}", "a pair (HistoryBatch, ReadTime)")
        batch, spent = read
        if not 0.0 <= spent.own_s <= spent.call_s < float("inf"):
            raise self._broken(name, str(spent), "seconds with 0 <= own_s <= call_s")
        return self._checked(name, batch, user_ids, columns, n, before_s), spent

    def stats(self) -> dict[str, int | float]:
        """See HistoryStore.stats."""
        with plugin_code(self._kind, "in stats"):
            found: dict[str, int | float] = self._store.stats()
        return found

    def close(self) -> None:
        """See HistoryStore.close."""
        with plugin_code(self._kind, "in close"):
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _checked(
        self,
        method: str,
        batch: object,
        user_ids: object,
        columns: Sequence[str] | None,
        n: int | None,
        before_s: object,
    ) -> HistoryBatch:
        """The batch, if it is an answer to what was asked."""
        if not isinstance(batch, HistoryBatch):
            raise self._broken(method, f"a {type(batch).__name__}", "a HistoryBatch")
        users = users_of(user_ids)
        if not np.array_equal(batch.user_ids, users):
            raise self._broken(
                method, f"users {_some(batch.user_ids)}", f"the users asked for, in order: {_some(users)}"
            )
        names = self._schema.names if columns is None else tuple(columns)
        rows = self._check_offsets(method, batch, len(users))
        self._check_columns(method, batch, names, rows)
        lengths = batch.lengths
        if n is not None and len(lengths) and lengths.max() > n:
            user = users[lengths.argmax()]
            raise self._broken(method, f"{lengths.max()} behaviours of user {user}", f"at most {n}")
        if "time_s" in batch.columns:
            self._check_times(method, batch, users, before_s)
        return batch

    def _check_offsets(self, method: str, batch: HistoryBatch, users: int) -> int:
        offsets = np.asarray(batch.offsets)
        if (
            offsets.shape != (users + 1,)
            or offsets.dtype.kind not in "iu"
            or offsets[0] != 0
            or (np.diff(offsets) < 0).any()
        ):
            raise self._broken(
                method,
                f"offsets {_some(offsets)}",
                f"{users + 1} integers that rise from 0 for {users} users",
            )
        return int(offsets[-1])

    def _check_columns(self, method: str, batch: HistoryBatch, names: Sequence[str], rows: int) -> None:
        if set(batch.columns) != set(names):
            raise self._broken(method, f"columns {sorted(batch.columns)}", f"{sorted(names)}")
        for name in names:
            column, dtype = batch.columns[name], self._schema.dtype(name)
            found = f"{np.shape(column)} {getattr(column, 'dtype', type(column).__name__)}"
            if not isinstance(column, np.ndarray) or column.dtype != dtype or column.shape != (rows,):
                raise self._broken(method, f"column {name} as {found}", f"({rows},) {dtype}")

    def _check_times(self, method: str, batch: HistoryBatch, users: Array, before_s: object) -> None:
        time_s = batch.columns["time_s"]
        owner = np.repeat(np.arange(len(users)), batch.lengths)
        back = np.flatnonzero((time_s[1:] < time_s[:-1]) & (owner[1:] == owner[:-1]))
        if len(back):
            at = back[0]
            raise self._broken(
                method,
                f"{time_s[at + 1]} s after {time_s[at]} s in the history of user {users[owner[at]]}",
                "the oldest behaviour first",
            )
        bound = np.broadcast_to(bound_s(before_s, len(users)), len(users))
        late = np.flatnonzero((time_s >= bound[owner]) & (bound[owner] != NO_BOUND_S))
        if len(late):
            at = late[0]
            raise self._broken(
                method,
                f"a behaviour of user {users[owner[at]]} at {time_s[at]} s",
                f"only earlier ones than {bound[owner[at]]} s",
            )

    def _broken(self, method: str, found: str, expected: str) -> PluginError:
        return PluginError(
            f"store plug-in {self._kind!r}: {method} returned {found}, expected {expected}. Correct the "
            "plug-in; docs/plugins.md says what a store promises."
        )


def _some(values: object) -> str:
    """The first few values of an array, for a message."""
    array = np.asarray(values).ravel()
    return f"[{', '.join(str(v) for v in array[:5].tolist())}{', ...' if len(array) > 5 else ''}]"
