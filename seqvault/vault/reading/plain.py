"""Index, tails and reader in plain Python and numpy: what the compiled ones do, said as simply as possible.

They serve a store where numba does not work, or where SEQVAULT_PLAIN=1 asks for them, with the same results.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqvault.query import FIRST_S, NO_BOUND_S, Query
from seqvault.schema import Array, Columns, HistorySchema
from seqvault.select import by_user, in_order, matching
from seqvault.store import HistoryBatch
from seqvault.vault.disk.slots import Slots
from seqvault.vault.format.block import decode_block_plain, decode_columns_plain, read_header
from seqvault.vault.format.damage import NOT_EXPECTED, BlockDamage, damage
from seqvault.vault.format.entries import BLOCK, ENTRY, SHARES, check_entries, is_shared
from seqvault.vault.format.shared import find_user, positions
from seqvault.vault.reading.locks import ReadersWriterLock

__all__ = ["PlainIndex", "PlainReader", "PlainTails"]


class _Block(NamedTuple):
    """A row of BLOCK."""

    user: int
    start: int
    first_s: int
    last_s: int
    offset: int
    size: int
    rows: int
    slot: int


class PlainIndex:
    """The plain twin of index.Index."""

    def __init__(self) -> None:
        self._of: dict[int, list[_Block]] = {}

    def reserve(self, entries: int) -> None:
        """See Index.reserve: a dict makes room by itself."""

    def apply(self, slot: int, entries: Array) -> None:
        """See Index.apply."""
        check_entries(slot, entries)
        for entry in np.asarray(entries, ENTRY).tolist():
            block = _Block._make((*entry, slot))
            kept = [other for other in self.of(block.user) if other.start < block.start]
            self._set(block.user, [*kept, block] if block.rows else kept)

    def build(self, segments: Iterable[tuple[int, Array]]) -> None:
        """See Index.build."""
        self._of.clear()
        for slot, entries in segments:
            self.apply(slot, entries)

    def move(self, old_slots: Sequence[int], new_slot: int, entries: Array) -> None:
        """See Index.move."""
        check_entries(new_slot, entries)
        for entry in np.asarray(entries, ENTRY).tolist():
            new = _Block._make((*entry, new_slot))
            blocks = self.of(new.user)
            for i, old in enumerate(blocks):
                if (old.start, old.rows) == (new.start, new.rows) and old.slot in old_slots:
                    blocks[i] = new

    def drop(self, slots: Sequence[int]) -> None:
        """See Index.drop."""
        for user, blocks in list(self._of.items()):
            self._set(user, [block for block in blocks if block.slot not in slots])

    def find(self, users: Array) -> tuple[Array, Array]:
        """See Index.find."""
        found = [self.of(user) for user in users.tolist()]
        bounds = np.cumsum([0, *map(len, found)], dtype="i8")
        return bounds, np.array([tuple(block) for blocks in found for block in blocks], BLOCK)

    def blocks_of(self, user: int) -> Array:
        """See Index.blocks_of."""
        return self.find(np.array([user], "u8"))[1]

    def live(self) -> Array:
        """See Index.live."""
        return self.find(self.users())[1]

    def live_bytes(self, slots: int) -> Array:
        """See Index.live_bytes."""
        live = self.live()
        live = live[live["slot"] < slots]
        shared = is_shared(live)
        out = np.zeros((slots, 2), "u8")
        np.add.at(out[:, 0], live["slot"][~shared], live["size"][~shared])
        np.add.at(out[:, 1], live["slot"][shared], live["rows"][shared])
        return out

    def portions(self, slots: int) -> Iterator[tuple[Array, Array, bool]]:
        """See Index.portions: all at once."""
        yield self.users(), self.live_bytes(slots), True

    def end_rank(self, user: int) -> int:
        """See Index.end_rank."""
        blocks = self.of(user)
        return blocks[-1].start + blocks[-1].rows if blocks else 0

    def end_ranks(self, users: Array) -> Array:
        """See Index.end_ranks."""
        return np.array([self.end_rank(user) for user in users.tolist()], "u8")

    def users(self) -> Array:
        """See Index.users."""
        return np.array(sorted(self._of), "u8")

    def of(self, user: int) -> list[_Block]:
        """A user's live blocks, oldest first."""
        return self._of.get(user, [])

    @property
    def blocks(self) -> int:
        """See Index.blocks."""
        return sum(map(len, self._of.values()))

    @property
    def rows(self) -> int:
        """See Index.rows."""
        return sum(block.rows for blocks in self._of.values() for block in blocks)

    @property
    def nbytes(self) -> int:
        """About the bytes of DRAM: a tuple of eight numbers per block, a list per user."""
        return 350 * self.blocks + 200 * len(self._of)

    def _set(self, user: int, blocks: list[_Block]) -> None:
        if blocks:
            self._of[user] = blocks
        else:
            self._of.pop(user, None)


class PlainTails:
    """The plain twin of tails.Tails."""

    def __init__(self, schema: HistorySchema) -> None:
        self._schema = schema
        self._of: dict[int, dict[str, Array]] = {}

    def add(self, users: Array, columns: Columns) -> None:
        """See Tails.add."""
        order, distinct, bounds = by_user(users)
        for i, user in enumerate(distinct.tolist()):
            rows = order[bounds[i] : bounds[i + 1]]
            new = {name: columns[name][rows] for name in self._schema.names}
            old = self._of.get(user)
            if old is not None:
                new = {name: np.concatenate((old[name], values)) for name, values in new.items()}
            self._of[user] = in_order(new)

    def drain(self) -> tuple[Array, Array, dict[str, Array]]:
        """See Tails.drain."""
        users = self.users()
        parts = [self._of[user] for user in users.tolist()]
        bounds = np.cumsum([0, *(len(part["time_s"]) for part in parts)], dtype="i8")
        columns = {
            name: np.concatenate([np.empty(0, self._schema.dtype(name)), *(part[name] for part in parts)])
            for name in self._schema.names
        }
        return users, bounds, columns

    def portions(self, rows: int) -> Iterator[tuple[Array, Array, dict[str, Array]]]:
        """See Tails.portions: all at once."""
        yield self.drain()

    def rows_of(self, user: int) -> dict[str, Array] | None:
        """See Tails.rows_of."""
        rows = self._of.get(user)
        return None if rows is None else {name: values.copy() for name, values in rows.items()}

    def user_portions(self) -> Iterator[Array]:
        """See Tails.user_portions: all at once."""
        yield self.users()

    def users(self) -> Array:
        """See Tails.users."""
        return np.array(sorted(self._of), "u8")

    def drop_user(self, user: int) -> None:
        """See Tails.drop_user."""
        self._of.pop(user, None)

    def drop_users(self, users: Array) -> None:
        """See Tails.drop_users."""
        for user in users.tolist():
            self.drop_user(user)

    def clear(self) -> None:
        """See Tails.clear."""
        self._of.clear()

    @property
    def rows(self) -> int:
        """See Tails.rows."""
        return sum(len(rows["time_s"]) for rows in self._of.values())

    @property
    def nbytes(self) -> int:
        """See Tails.nbytes."""
        return self.rows * self._schema.row_bytes


class PlainReader:
    """The plain twin of compiled_reader.Reader; see there for arguments and attributes."""

    def __init__(
        self,
        schema: HistorySchema,
        index: PlainIndex,
        tails: PlainTails,
        lock: ReadersWriterLock,
        *,
        direct: bool = False,
    ) -> None:
        self.schema = schema
        self.index = index
        self.tails = tails
        self.cap: int | None = None
        self.floor_s = FIRST_S
        self._lock = lock
        self._direct = direct
        self._slots = Slots()
        self._versions: Mapping[int, HistorySchema] = {schema.id: schema}

    def set_schema(self, versions: Mapping[int, HistorySchema]) -> None:
        """See Reader.set_schema."""
        self._versions = dict(versions)

    def add(self, slot: int, fd: int, path: Path) -> None:
        """See Reader.add."""
        self._slots.add(slot, fd, path)

    def remove(self, slot: int) -> None:
        """See Reader.remove."""
        self._slots.remove(slot)

    def read(self, query: Query) -> HistoryBatch:
        """See Reader.read."""
        visible = query._replace(start_s=max(query.start_s, self.floor_s))
        with self._lock.shared():
            parts = [self._user(user, i, visible) for i, user in enumerate(query.users.tolist())]
        return HistoryBatch.gather(self.schema, query.users, query.names, parts)

    def prepare(self, query: Query) -> Callable[[Array, int | Array], HistoryBatch]:
        """See Reader.prepare; nothing is kept between reads."""
        return lambda users, end_s: self.read(query._replace(users=users, end_s=end_s))

    def _user(self, user: int, i: int, query: Query) -> dict[str, Array] | None:
        """What is wanted of one user, from as few of the newest blocks as will do."""
        names = tuple(dict.fromkeys((*query.keys, *query.names)))
        end_s = query.end_s if isinstance(query.end_s, int) else int(query.end_s[i])
        blocks = self.index.of(user)
        parts = [self._tail(user, names)]
        for k in range(len(blocks), -1, -1):
            history = in_order({name: np.concatenate([part[name] for part in parts]) for name in names})
            unread = blocks[k - 1] if k else None
            chosen = self._chosen(history, query, i, unread)
            if chosen is not None or unread is None:
                return {name: history[name][chosen] for name in query.names}
            if unread.first_s < end_s or end_s == NO_BOUND_S or self.cap is not None:
                parts.insert(0, self._block(unread, names))
        raise AssertionError("with all blocks read everything is known")

    def _chosen(self, history: dict[str, Array], query: Query, i: int, unread: _Block | None) -> Array | None:
        """The rows wanted; None when the newest block that is not read yet could change them."""
        times = history["time_s"]
        rows = np.arange(len(times))
        # Rows as new as the newest unread one come behind it: their blocks lie behind its, and what is in the
        # tail arrived later.
        known = (
            len(times) if unread is None else len(times) - int(np.searchsorted(times, unread.last_s, "left"))
        )
        sure = unread is None or unread.last_s < query.start_s
        if self.cap is not None:
            rows = rows[max(0, len(times) - self.cap) :]
            sure = sure or known >= self.cap
        found: Array = rows[matching({name: values[rows] for name, values in history.items()}, query, i)]
        full = len(found) == query.n and (query.n == 0 or int(found[0]) >= len(times) - known)
        return found if sure or full else None

    def _tail(self, user: int, names: tuple[str, ...]) -> dict[str, Array]:
        rows = self.tails.rows_of(user)
        if rows is None:
            return {name: np.empty(0, self.schema.dtype(name)) for name in names}
        return {name: rows[name] for name in names}

    def _block(self, block: _Block, names: tuple[str, ...]) -> dict[str, Array]:
        """A block's columns, those its schema lacks filled with their default."""
        if self._slots.fds[block.slot] < 0:
            raise self._slots.closed(block.slot)
        size = block.size & ~SHARES
        data = self._slots.read(block.slot, block.offset, size, direct=self._direct)
        try:
            found = self._decode(block, np.frombuffer(data, "u1"), names)
        except BlockDamage as error:
            raise self._damaged(block, damage(error.code)) from None
        defaults = {column.name: column.default for column in self.schema.columns}
        return {
            name: found[name]
            if name in found
            else np.full(block.rows, defaults[name], self.schema.dtype(name))
            for name in names
        }

    def _decode(self, block: _Block, data: Array, names: tuple[str, ...]) -> dict[str, Array]:
        head = read_header(data, 0, block.size & ~SHARES)
        if head.kind != (block.size & SHARES):
            raise BlockDamage(NOT_EXPECTED)
        first = 0
        if head.kind:
            users, times = decode_columns_plain(head, data, (0, head.rows), positions(head))
            first = find_user(users, block.user, block.rows)
            if (int(times[first]), int(times[first + block.rows - 1])) != (block.first_s, block.last_s):
                raise BlockDamage(NOT_EXPECTED)
        elif (head.user, head.start, head.first_s, head.last_s, head.rows) != (*block[:4], block.rows):
            raise BlockDamage(NOT_EXPECTED)
        schema = self._versions.get(head.schema_id)
        if schema is None:
            raise self._damaged(block, "was written under an unknown schema")
        stored = [name for name in names if name in schema.names]
        return decode_block_plain(schema, data, 0, first, first + block.rows, stored)

    def _damaged(self, block: _Block, wrong: str) -> Exception:
        return self._slots.damaged(block.slot, block.offset, block.user, block.start, block.rows, wrong)
