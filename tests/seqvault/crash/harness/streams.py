"""What the crashing writers write: streams of operations that follow from (stream, number) alone.

Each stream has users of its own, so that the order of its operations is the order of its one thread,
however many streams a store takes at once. Every append leaves one row with the stream's marker user, who
is never deleted: how many appends survived can be read off, and a gap among them is seen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from dict_model import DictModel, difference

from seqvault import BEHAVIOURS, Column, HistoryBatch, HistorySchema

START_S = 1_700_000_000
ALL = 10**9

IMPRESSIONS = HistorySchema(
    "impressions", 1, (Column("time_s", "i8", "s"), Column("item_id", "u8"), Column("rank", "u2"))
)
SCHEMAS = {"behaviours": BEHAVIOURS, "impressions": IMPRESSIONS}
USERS = 8
STRIDE = 100


@dataclass(frozen=True)
class Append:
    user_ids: np.ndarray
    columns: Mapping[str, np.ndarray]
    sequence: str | None = None
    batch_id: int | None = None
    durability: str | None = None

    def run(self, target) -> object:
        return target.append(
            self.user_ids,
            self.columns,
            sequence=self.sequence,
            batch_id=self.batch_id,
            durability=self.durability,
        )


@dataclass(frozen=True)
class Delete:
    user_id: int

    def run(self, target) -> object:
        return target.delete_user(self.user_id)


@dataclass(frozen=True)
class Expire:
    before_s: int
    sequence: str

    def run(self, target) -> object:
        return target.expire(self.before_s, self.sequence, force=True)


Operation = Append | Delete | Expire


@dataclass(frozen=True)
class Stream:
    """One writer's operations.

    Args:
        number: stands in its user ids and in every item it writes.
        durability: of its appends.
        sequence: where it appends to; a stream of "impressions" expires its oldest rows now and then.
        batch_ids: give every append an id, so that it may be sent again after a crash.
        most_rows: rows of the largest append, beside the marker's.
    """

    number: int
    durability: str = "sync"
    sequence: str = "behaviours"
    batch_ids: bool = False
    most_rows: int = 12
    seed: int = 0

    @property
    def marker(self) -> int:
        return self.number * STRIDE + STRIDE - 1

    @property
    def users(self) -> np.ndarray:
        return np.append(self.number * STRIDE + np.arange(USERS), self.marker).astype("u8")

    @cached_property
    def _deletes(self) -> bool:
        return self.sequence == "behaviours"

    def operation(self, number: int) -> Operation:
        """Operation `number`: mostly an append, every fifth of them late, of users mixed."""
        rng = np.random.default_rng((self.seed, self.number, number))
        kind = rng.random()
        if kind < 0.04 and self._deletes:
            return Delete(self.number * STRIDE + int(rng.integers(USERS)))
        if kind < 0.04:
            return Expire(START_S + 10 * max(0, number - 60), self.sequence)
        rows = int(rng.integers(1, self.most_rows + 1))
        users = np.append(self.number * STRIDE + rng.integers(0, USERS, rows), self.marker).astype("u8")
        late = -int(rng.integers(0, 900)) if number % 5 == 4 else 0
        times = START_S + 10 * number + late + rng.integers(0, 5, rows + 1)
        times[-1] = START_S + 10 * number
        items = (self.number << 48) + (number << 16) + np.arange(rows + 1)
        columns: dict[str, np.ndarray] = {"time_s": times, "item_id": items}
        for column in SCHEMAS[self.sequence].columns[2:]:
            columns[column.name] = rng.integers(0, 200, rows + 1)
        batch_id = (self.number << 40) + number if self.batch_ids else None
        return Append(users, columns, self.sequence, batch_id, self.durability)


def standard_streams(seed: int = 0) -> list[Stream]:
    """Two sync writers that share their syncs, one async, one that repeats batch ids, one that expires."""
    return [
        Stream(1, seed=seed),
        Stream(2, seed=seed, most_rows=60),
        Stream(3, "async", seed=seed),
        Stream(4, batch_ids=True, seed=seed),
        Stream(5, sequence="impressions", seed=seed),
    ]


class Survivors:
    """What is known to have survived of one stream, and how the store is held to it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.operations = 0
        self.appends = 0
        self.model = DictModel(SCHEMAS)

    def settle(self, store, acked: int, issued: int | Callable[[], int]) -> int:
        """The number of the stream's operations the store holds; afterwards the model holds the same.

        Args:
            acked: operations that must be there.
            issued: operations that may be, asked for after the read where they still grow.

        Raises:
            AssertionError: one of the first is lost, one is there in part, or anything else is.
        """
        found = self._read(store)
        markers = self._markers(found)
        most = issued() if callable(issued) else issued
        while self.operations < acked:
            self._step()
        last_difference = "none"
        while True:
            if self.appends == markers:
                unequal = difference(found, self._read(self.model))
                if unequal is None:
                    return self.operations
                last_difference = unequal
            if self.operations >= most:
                break
            self._step()
        raise AssertionError(
            f"stream {self.stream.number}: the store holds no state between its {acked} acknowledged and "
            f"{most} issued operations; the marker user has {markers} rows, {self.appends} expected at "
            f"the end; difference: {last_difference}"
        )

    def _step(self) -> None:
        operation = self.stream.operation(self.operations)
        operation.run(self.model)
        self.operations += 1
        self.appends += isinstance(operation, Append)

    def _read(self, target):
        return target.read_last(self.stream.users, ALL, sequence=self.stream.sequence)

    def _markers(self, found: HistoryBatch) -> int:
        """Appends the store holds. Expired rows of the marker are counted by the newest that is left."""
        items = found.of(len(found) - 1)["item_id"]
        if self.stream.sequence == "behaviours" or not len(items):
            return len(items)
        newest = (int(items[-1]) >> 16) & 0xFFFFFFFF
        return sum(isinstance(self.stream.operation(i), Append) for i in range(newest + 1))
