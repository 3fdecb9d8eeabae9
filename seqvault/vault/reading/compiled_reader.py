"""Reading: one compiled call per request, and the little Python around it.

The whole read, from user ids to filled columns, is kernels/reads/read.py. Here its contexts are packed:
what the store is, what a thread owns, what a choice of columns means. `plain.py` says the same in numpy.
"""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqvault.query import FIRST_S, NO_LIMIT, Query
from seqvault.schema import Array, HistorySchema
from seqvault.store import HistoryBatch
from seqvault.vault.compiled.scratch import Scratch
from seqvault.vault.disk.slots import Slots
from seqvault.vault.format.damage import damage
from seqvault.vault.kernels.decode import MISSING
from seqvault.vault.kernels.reads import contexts as c
from seqvault.vault.kernels.reads.read import read
from seqvault.vault.reading.index import Index
from seqvault.vault.reading.locks import ReadersWriterLock
from seqvault.vault.reading.tails import Tails

__all__ = ["Reader"]

_U1, _U8, _I8 = np.dtype("u1"), np.dtype("u8"), np.dtype("i8")
# Memory a read begins with: enough for most; what needs more learns how much.
_GUESS_BYTES = 1 << 18
_DIRECT_ALIGN = 4096
_FILTERED = {"scene": "scenes", "action": "actions"}


class _Choice(NamedTuple):
    """A choice of columns: its packed form, and how its output is cut into arrays."""

    ask: Array
    row_bytes: int
    outputs: tuple[tuple[str, np.dtype[np.generic], int], ...]


class _Thread:
    """What one thread reads with; alive as long as any of its reads, for `words` are addresses.

    Args:
        store: the reader's packed context.
    """

    def __init__(self, store: Array) -> None:
        scratch = Scratch()
        self._alive = store, scratch
        self.words = np.zeros(c.THREAD_WORDS, "u8")
        self.words[c.STORE] = store.ctypes.data
        self.words[c.WORK], self.words[c.WORK_SIZE] = scratch.work.ctypes.data, scratch.work.size
        self.words[c.DECODER] = scratch.context


class Reader:
    """Reads histories from index, tails and open segments.

    Args:
        schema: the columns read, those of the tails.
        lock: shared with whoever changes index and tails.
        direct: the segments' descriptors bypass the page cache and want aligned reads.

    Attributes:
        index, tails, cap, floor_s: may be assigned in an exclusive section; only the newest `cap` behaviours
            of a user (None: all) at or after `floor_s` are read.
    """

    def __init__(
        self,
        schema: HistorySchema,
        index: Index,
        tails: Tails,
        lock: ReadersWriterLock,
        *,
        direct: bool = False,
    ) -> None:
        self.schema = schema
        self._lock = lock
        self._columns = _column_table(schema, tails)
        self._slots = Slots()
        self._choices: dict[tuple[str, ...], _Choice] = {}
        self._threads = threading.local()
        self._store = np.zeros(c.STORE_WORDS, "u8")
        self._store[c.LOCK] = lock.address
        self._store[c.COLUMNS] = len(schema.columns)
        self._store[c.COLUMN_TABLE] = self._columns.ctypes.data
        self._store[c.FDS] = self._slots.fds.ctypes.data
        self._store[c.ALIGN] = _DIRECT_ALIGN if direct else 8
        self._schemas: list[Array] = []
        self.set_schema({schema.id: schema})
        self.index, self.tails = index, tails
        self.cap, self.floor_s = None, FIRST_S

    @property
    def index(self) -> Index:
        """Where the sealed blocks are."""
        return self._index

    @index.setter
    def index(self, index: Index) -> None:
        self._index = index
        self._store[c.INDEX] = index.where.ctypes.data

    @property
    def tails(self) -> Tails:
        """The behaviours that are not sealed."""
        return self._tails

    @tails.setter
    def tails(self, tails: Tails) -> None:
        self._tails = tails
        self._store[c.TAILS] = tails.where.ctypes.data

    @property
    def cap(self) -> int | None:
        """How many of a user's newest behaviours are read; None for all."""
        cap = int(self._store[c.CAP])
        return None if cap == NO_LIMIT else cap

    @cap.setter
    def cap(self, cap: int | None) -> None:
        self._store[c.CAP] = NO_LIMIT if cap is None else cap

    @property
    def floor_s(self) -> int:
        """Behaviours before it are not read."""
        return int(self._store[c.FLOOR_S : c.FLOOR_S + np.uint64(1)].view("i8")[0])

    @floor_s.setter
    def floor_s(self, floor_s: int) -> None:
        self._store[c.FLOOR_S] = floor_s % (1 << 64)

    def set_schema(self, versions: Mapping[int, HistorySchema]) -> None:
        """The schemas that blocks may be written under, by id. In an exclusive section."""
        rows = []
        for number, schema in versions.items():
            places = {name: i for i, name in enumerate(schema.names)}
            rows.append([number, *(places.get(name, MISSING) for name in self.schema.names)])
        # A read that has begun may still use an older table: all are kept.
        self._schemas.append(np.array(rows, "u8"))
        self._store[c.SCHEMAS] = len(rows)
        self._store[c.SCHEMA_TABLE] = self._schemas[-1].ctypes.data

    def add(self, slot: int, fd: int, path: Path) -> None:
        """Let blocks of an open segment be read. In an exclusive section."""
        self._slots.add(slot, fd, path)

    def remove(self, slot: int) -> None:
        """Forget a slot, in an exclusive section; close its descriptor after the lock's `drain`."""
        self._slots.remove(slot)

    def read(self, query: Query) -> HistoryBatch:
        """What the query asks for.

        Raises:
            DamagedDataError: a block fails its checksum, cannot be read, or is not the one the index lists.
        """
        users, names, n, start_s, end_s, scenes, actions, distinct = query
        choice = self._choices.get(names) or self._choose(names)
        ask, row_bytes, outputs = choice
        if not users.flags.carray:
            users = users.copy()
        kept: Sequence[Array] = ()
        bound = end_s if isinstance(end_s, int) else 0
        unfiltered = scenes is None and actions is None and distinct is None
        if not (unfiltered and end_s is bound and start_s == FIRST_S):
            ask, kept = self._ask(choice, query)
        rows = min(n * len(users), _GUESS_BYTES // row_bytes)
        offsets = np.empty(len(users) + 1, _I8)
        while True:
            out = np.empty(rows * row_bytes, _U1)
            found = self.fill(ask, users, offsets, out, n, bound)
            if found >= 0:
                break
            rows = -found
        del kept
        if found * 2 < rows:
            # Not to keep memory that most of the batch does not use.
            columns = {
                name: np.ndarray(found, dtype, out, rows * before).copy() for name, dtype, before in outputs
            }
        else:
            columns = {name: np.ndarray(found, dtype, out, rows * before) for name, dtype, before in outputs}
        return HistoryBatch(users, offsets, columns)

    def prepare(self, query: Query) -> "_Prepared":
        """The query made ready to be asked of other users, with another end, again and again."""
        choice = self._choices.get(query.names) or self._choose(query.names)
        return _Prepared(self, choice, query, *self._ask(choice, query))

    def fill(self, ask: Array, users: Array, offsets: Array, out: Array, n: int, end_s: int) -> int:
        """Run the kernel: rows found, or, below 0, less how many rows `out` must have room for.

        Raises:
            DamagedDataError: see read.
        """
        while True:
            try:
                thread = self._threads.own
            except AttributeError:
                self._threads.own = thread = self.context()
            found: int = read(thread.words, ask, users, offsets, out, n, end_s)
            if found >= 0:
                return found
            if found == c.NO_ROOM:
                return -int(thread.words[c.REPORT])
            self.overcome(found, thread)

    def overcome(self, found: int, thread: "_Thread") -> None:
        """Return when another attempt may do better. Raises DamagedDataError for what no attempt changes."""
        if found == c.BUSY:
            self._lock.wait()
            return
        code, user, slot, offset, size, start, count = thread.words[c.REPORT : c.CALL].tolist()
        if code == c.NOT_OPEN:
            raise self._slots.closed(slot)
        if code == c.CUT_SHORT:
            raise self._slots.unreadable(slot, offset, size)
        wrong = "was written under an unknown schema" if code == c.UNKNOWN_SCHEMA else damage(code)
        raise self._slots.damaged(slot, offset, user, start, count, wrong)

    def context(self) -> "_Thread":
        """What one thread reads with, made now."""
        return _Thread(self._store)

    def _choose(self, names: tuple[str, ...]) -> _Choice:
        """Pack a choice of columns; choices are few and kept."""
        dtypes = [self.schema.dtype(name) for name in names]
        before = _before([dtype.itemsize for dtype in dtypes])
        row_bytes = sum(dtype.itemsize for dtype in dtypes)
        ask = [len(names), row_bytes, FIRST_S % (1 << 64), 0, 0, 0]
        for name, dtype, place in zip(names, dtypes, before, strict=True):
            ask += [self.schema.names.index(name), dtype.itemsize, place]
        choice = _Choice(np.array(ask, "u8"), row_bytes, tuple(zip(names, dtypes, before, strict=True)))
        self._choices[names] = choice
        return choice

    def _ask(self, choice: _Choice, query: Query) -> tuple[Array, list[Array]]:
        """The packed choice with a query's conditions, and the arrays it has addresses of."""
        words = choice.ask.tolist()
        words[c.START_S] = query.start_s % (1 << 64)
        kept = []
        if not isinstance(query.end_s, int):
            kept.append(np.ascontiguousarray(query.end_s))
            words[c.ENDS] = kept[-1].ctypes.data
        for name, argument in _FILTERED.items():
            codes = getattr(query, argument)
            if codes is not None:
                # As the kernel loads them: without sign.
                kept.append(np.unique(codes.view(f"u{codes.dtype.itemsize}")).astype("u8"))
                words += [self.schema.names.index(name), kept[-1].ctypes.data, kept[-1].size]
                words[c.FILTERS] += 1
        if query.distinct is not None:
            words[c.DISTINCT] = self.schema.names.index(query.distinct) + 1
        return np.array(words, "u8"), kept


class _Prepared:
    """A query with memory of its own; the arrays of a batch are written over by the next.

    Args:
        reader: what reads. choice, ask, kept: as the reader packed them for the query.
    """

    def __init__(
        self, reader: Reader, choice: _Choice, query: Query, ask: Array, kept: Sequence[Array]
    ) -> None:
        self._reader, self._thread = reader, reader.context()
        self._choice, self._kept, self._n = choice, kept, query.n
        self._ask, self._ask_ends = ask, ask.copy()
        self._users, self._offsets = 0, np.empty(1, _I8)
        self._rows = 0
        self._room(min(query.n, _GUESS_BYTES // choice.row_bytes))

    def __call__(self, users: Array, end_s: int | Array) -> HistoryBatch:
        """What the query asks for, of these users. Raises DamagedDataError."""
        if len(users) != self._users:
            self._users, self._offsets = len(users), np.empty(len(users) + 1, _I8)
        ask = self._ask
        if not isinstance(end_s, int):
            ends, end_s, ask = np.ascontiguousarray(end_s), 0, self._ask_ends
            ask[c.ENDS] = ends.ctypes.data
        if not users.flags.carray:  # numba takes strided and read-only arrays only after a search, of 100 us
            users = users.copy()
        found = read(self._thread.words, ask, users, self._offsets, self._out, self._n, end_s)
        if found < 0:
            found = self._try_again(found, ask, users, end_s)
        if found != self._rows:
            self._rows = found
            self._columns = {name: column[:found] for name, column in self._whole.items()}
        return HistoryBatch(users, self._offsets, self._columns)

    def _try_again(self, found: int, ask: Array, users: Array, end_s: int) -> int:
        """Read until nothing hinders; rows found. Raises DamagedDataError."""
        while found < 0:
            if found == c.NO_ROOM:
                # A quarter more: the next users' histories are as likely longer.
                needed = int(self._thread.words[c.REPORT])
                self._room(needed + needed // 4)
            else:
                self._reader.overcome(found, self._thread)
            found = read(self._thread.words, ask, users, self._offsets, self._out, self._n, end_s)
        return found

    def _room(self, rows: int) -> None:
        """Make memory for so many rows."""
        self._out = np.empty(rows * self._choice.row_bytes, _U1)
        self._whole = {
            name: np.ndarray(rows, dtype, self._out, rows * before)
            for name, dtype, before in self._choice.outputs
        }
        self._rows, self._columns = rows, self._whole


def _before(widths: Sequence[int]) -> list[int]:
    """Widths of the columns before each, the widest first, so that all are aligned whatever their length."""
    order = sorted(range(len(widths)), key=lambda i: -widths[i])
    before, total = [0] * len(widths), 0
    for i in order:
        before[i] = total
        total += widths[i]
    return before


def _column_table(schema: HistorySchema, tails: Tails) -> Array:
    """(P, 3): width, widths of the columns before it, default of each column."""
    defaults = [column.default % (1 << 64) for column in schema.columns]
    return np.column_stack((tails.layout, np.array(defaults, "u8")))
