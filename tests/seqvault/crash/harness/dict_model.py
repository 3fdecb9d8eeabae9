"""The oracle: histories in a dict, with every feature of the vault written the plainest way there is.

It shares no code with the store beyond the schema and the batch it returns, and its methods have the names
and arguments of the store's, so that one operation can be run on both.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from seqvault import HistoryBatch, HistorySchema

Columns = dict[str, np.ndarray]
KEPT_BATCH_IDS = 65_536


class History:
    """One user's rows of one sequence, in order of (time, arrival)."""

    def __init__(self) -> None:
        self.parts: list[Columns] = []

    def add(self, columns: Columns) -> None:
        self.parts.append(columns)

    def rows(self) -> Columns:
        if len(self.parts) > 1:
            joined = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
            order = np.argsort(joined["time_s"], kind="stable")
            self.parts = [{name: values[order] for name, values in joined.items()}]
        elif self.parts:
            order = np.argsort(self.parts[0]["time_s"], kind="stable")
            self.parts = [{name: values[order] for name, values in self.parts[0].items()}]
        return self.parts[0]


class DictModel:
    """What a vault with these sequences must answer.

    Args:
        schemas: sequence name -> its schema; the first is the default sequence.
        caps: sequence name -> most behaviours a user may have there, where there is such a bound.
    """

    def __init__(self, schemas: dict[str, HistorySchema], caps: dict[str, int] | None = None) -> None:
        self.schemas = dict(schemas)
        self.caps = dict(caps or {})
        self.histories: dict[str, dict[int, History]] = {name: {} for name in schemas}
        self.floors: dict[str, int] = {}
        self.batch_ids: dict[int, None] = {}

    def append(
        self, user_ids, columns, *, sequence: str | None = None, batch_id: int | None = None, durability=None
    ) -> bool:
        if batch_id is not None:
            if batch_id in self.batch_ids:
                return False
            self.batch_ids[batch_id] = None
            if len(self.batch_ids) > KEPT_BATCH_IDS:
                del self.batch_ids[next(iter(self.batch_ids))]
        name = self._name(sequence)
        schema = self.schemas[name]
        users = np.asarray(user_ids, "u8")
        order = np.argsort(users, kind="stable")
        cuts = [0, *(np.flatnonzero(np.diff(users[order])) + 1).tolist(), len(users)]
        typed = {c.name: np.asarray(columns[c.name]).astype(c.dtype)[order] for c in schema.columns}
        for start, end in pairwise(cuts):
            if end > start:
                history = self.histories[name].setdefault(int(users[order[start]]), History())
                history.add({column: values[start:end] for column, values in typed.items()})
        return True

    def bulk_load(self, user_ids, columns, *, sequence: str | None = None) -> None:
        self.append(user_ids, columns, sequence=sequence)

    def delete_user(self, user_id: int) -> None:
        for histories in self.histories.values():
            histories.pop(int(user_id), None)

    def expire(self, before_s: int, sequence: str | None = None, *, force: bool) -> None:
        name = self._name(sequence)
        self.floors[name] = max(before_s, self.floors.get(name, before_s))

    def evolve(self, sequence: str, schema: HistorySchema) -> None:
        """Columns the new schema adds read as their default, columns it drops are gone."""
        self.schemas[sequence] = schema
        for history in self.histories[sequence].values():
            rows = history.rows()
            count = len(rows["time_s"])
            history.parts = [
                {c.name: rows.get(c.name, np.full(count, c.default, c.dtype)) for c in schema.columns}
            ]

    def read_last(self, user_ids, n: int, *, before_s=None, **options) -> HistoryBatch:
        users = np.asarray(user_ids, "u8")
        bounds = [None] * len(users) if before_s is None else np.broadcast_to(before_s, len(users)).tolist()
        parts = [self._read(u, None, b, n, **options) for u, b in zip(users.tolist(), bounds, strict=True)]
        return self._batch(users, parts, **options)

    def read_range(self, user_ids, start_s: int, end_s: int, **options) -> HistoryBatch:
        users = np.asarray(user_ids, "u8")
        parts = [self._read(user, start_s, end_s, None, **options) for user in users.tolist()]
        return self._batch(users, parts, **options)

    def users(self, sequence: str | None = None) -> list[int]:
        return sorted(self.histories[self._name(sequence)])

    def _name(self, sequence: str | None) -> str:
        return next(iter(self.schemas)) if sequence is None else sequence

    def _read(
        self,
        user: int,
        start_s: int | None,
        end_s: int | None,
        n: int | None,
        *,
        columns: Sequence[str] | None = None,
        scenes: Sequence[int] | None = None,
        actions: Sequence[int] | None = None,
        distinct: str | None = None,
        sequence: str | None = None,
    ) -> Columns | None:
        name = self._name(sequence)
        history = self.histories[name].get(user)
        if history is None:
            return None
        rows = history.rows()
        times = rows["time_s"]
        chosen = np.arange(len(times))
        if name in self.caps:
            chosen = chosen[-self.caps[name] :]
        if name in self.floors:
            chosen = chosen[times[chosen] >= self.floors[name]]
        if start_s is not None:
            chosen = chosen[times[chosen] >= start_s]
        if end_s is not None:
            chosen = chosen[times[chosen] < end_s]
        for column, kept in (("scene", scenes), ("action", actions)):
            if kept is not None:
                chosen = chosen[np.isin(rows[column][chosen], np.asarray(kept, rows[column].dtype))]
        if distinct is not None:
            seen: set[int] = set()
            newest_first = []
            for i in chosen[::-1].tolist():
                value = int(rows[distinct][i])
                if value not in seen:
                    seen.add(value)
                    newest_first.append(i)
            chosen = np.array(newest_first[::-1], "i8")
        if n is not None:
            chosen = chosen[max(0, len(chosen) - n) :]
        return {column: rows[column][chosen] for column in columns or self.schemas[name].names}

    def _batch(self, users: np.ndarray, parts: list[Columns | None], **options) -> HistoryBatch:
        schema = self.schemas[self._name(options.get("sequence"))]
        names = tuple(dict.fromkeys(options.get("columns") or schema.names))
        return HistoryBatch.gather(schema, users, names, parts)


def difference(found: HistoryBatch, expected: HistoryBatch) -> str | None:
    """What distinguishes two batches, in words; None when nothing does."""
    if not np.array_equal(found.user_ids, expected.user_ids):
        return f"users {found.user_ids.tolist()} instead of {expected.user_ids.tolist()}"
    if list(found.columns) != list(expected.columns):
        return f"columns {list(found.columns)} instead of {list(expected.columns)}"
    for i, user in enumerate(found.user_ids.tolist()):
        got, wanted = found.of(i), expected.of(i)
        for name, values in wanted.items():
            if got[name].dtype != values.dtype:
                return f"{name} has dtype {got[name].dtype} instead of {values.dtype}"
            if not np.array_equal(got[name], values):
                return f"user {user}, {name}: {_at_first(got[name], values)}"
    return None


def _at_first(got: np.ndarray, wanted: np.ndarray) -> str:
    shorter = min(len(got), len(wanted))
    unequal = np.flatnonzero(got[:shorter] != wanted[:shorter])
    at = int(unequal[0]) if len(unequal) else shorter
    return (
        f"{len(got)} rows instead of {len(wanted)}; from row {at} on "
        f"{got[at : at + 4].tolist()} instead of {wanted[at : at + 4].tolist()}"
    )
