"""Reading histories: the DRAM index of blocks, the fetch of a run of them, and the merge with the tail.

A user's blocks never overlap in time (sealing merges late behaviours into them), so the sealed history is
their concatenation. The tail usually begins where it ends; when late behaviours make it reach back, the two
are merged: all sealed behaviours arrived before all of the tail's, so a stable sort by time is the order
(time, arrival)."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from seqvault.schema import Array, Columns, HistorySchema
from seqvault.select import Rows, newest, within
from seqvault.vault.format1_block import Block, decode_block
from seqvault.vault.segment import Segment
from seqvault.vault.tail import Tail, Tails

__all__ = ["HistoryReader"]

Pieces = list[list[Array]]


class HistoryReader:
    """Index, open segments and tails of a store; finds and decodes, never writes.

    Attributes:
        tails: unsealed behaviours, filled by the store.
        segments: open segments by number.
    """

    def __init__(self, folder: Path, schema: HistorySchema) -> None:
        self.tails = Tails()
        self.segments: dict[int, Segment] = {}
        self._folder = folder
        self._schema = schema
        self._blocks: dict[int, list[Block]] = {}

    def open_segment(self, number: int) -> None:
        """Open a segment and put its blocks into the index. Raises DamagedDataError."""
        segment = Segment(self._folder, number, self._schema)
        self.segments[number] = segment
        self.index(segment.blocks())

    def index(self, blocks: Iterable[Block]) -> None:
        """Add a newer segment's blocks; each replaces the user's blocks from its first row's rank on."""
        for block in blocks:
            of_user = self._blocks.setdefault(block.user, [])
            while of_user and of_user[-1].start >= block.start:
                of_user.pop()
            of_user.append(block)

    def blocks(self, user: int) -> list[Block]:
        """A user's live blocks, oldest first."""
        return self._blocks.get(user, [])

    def live_blocks(self) -> list[Block]:
        """Every live block, by user and time."""
        return [block for user in sorted(self._blocks) for block in self._blocks[user]]

    def users(self) -> set[int]:
        """Users with at least one behaviour."""
        return set(self._blocks) | self.tails.users()

    def close(self) -> None:
        """Close the segments."""
        for segment in self.segments.values():
            segment.close()
        self.segments.clear()

    def last(
        self, user: int, n: int, bound_s: int, scenes: Array | None, names: tuple[str, ...], out: Pieces
    ) -> int:
        """Append the newest n behaviours before the bound to `out`, one list a name; returns how many."""
        blocks, tail = self._blocks.get(user, []), self.tails.get(user)
        sealed_end_s = blocks[-1].last_s if blocks else None
        ordered = tail is None or sealed_end_s is None or tail.first_s >= sealed_end_s
        newest_s = tail.last_s if tail is not None else sealed_end_s
        if n == 0 or newest_s is None:
            return 0
        if not (ordered and scenes is None and bound_s > newest_s):
            return self._merged_last(user, n, bound_s, scenes, names, out)
        from_tail = min(n, tail.count) if tail is not None else 0
        wanted = n - from_tail
        start, found = len(blocks), 0
        while start and found < wanted:
            start -= 1
            found += blocks[start].rows
        if found:
            self.fetch(blocks[start:], names, max(0, found - wanted), out)
        if tail is not None:
            rows = tail.rows[tail.count - from_tail :]
            for pieces, name in zip(out, names, strict=True):
                pieces.append(rows[name])
        return min(wanted, found) + from_tail

    def between(
        self, user: int, start_s: int, end_s: int, scenes: Array | None, names: tuple[str, ...], out: Pieces
    ) -> int:
        """Append the behaviours with start_s <= time_s < end_s to `out`; returns how many."""
        blocks = [b for b in self._blocks.get(user, []) if b.last_s >= start_s and b.first_s < end_s]
        keys = self._with_keys(names, scenes)
        sealed = self.columns(blocks, keys)
        parts = [_take(sealed, within(sealed, start_s, end_s, scenes))]
        tail = self.tails.get(user)
        if tail is not None:
            parts.append(_take_rows(tail, keys, within(tail.rows, start_s, end_s, scenes)))
        return _put(_merge(parts), None, names, out)

    def columns(self, blocks: Sequence[Block], names: tuple[str, ...]) -> dict[str, Array]:
        """The named columns of consecutive blocks of one user."""
        pieces: Pieces = [[] for _ in names]
        self.fetch(blocks, names, 0, pieces)
        return {
            name: np.concatenate(parts) if parts else np.empty(0, self._schema.dtype(name))
            for name, parts in zip(names, pieces, strict=True)
        }

    def fetch(self, blocks: Sequence[Block], names: tuple[str, ...], first: int, out: Pieces) -> None:
        """Append the blocks' columns to `out`, from row `first` of the first block on.

        Blocks side by side in a file are read with one pread.
        """
        i = 0
        while i < len(blocks):
            begin, end, j = blocks[i].offset, blocks[i].offset, i
            while j < len(blocks) and (blocks[j].segment, blocks[j].offset) == (blocks[i].segment, end):
                end += blocks[j].size
                j += 1
            data = self.segments[blocks[i].segment].read(begin, end - begin)
            for block in blocks[i:j]:
                columns = decode_block(self._schema, data, block.offset - begin, block, names, first)
                for pieces, values in zip(out, columns, strict=True):
                    pieces.append(values)
                first = 0
            i = j

    def _merged_last(
        self, user: int, n: int, bound_s: int, scenes: Array | None, names: tuple[str, ...], out: Pieces
    ) -> int:
        """The general case of `last`: a bound inside the history, scenes, or a tail that reaches back."""
        keys = self._with_keys(names, scenes)
        blocks = self._blocks.get(user, [])
        blocks = blocks[: bisect_left([block.first_s for block in blocks], bound_s)]
        parts = []
        wanted = n
        while blocks:
            start = len(blocks) - 1
            # The newest block holds at least one row before the bound, the others all of theirs.
            sure = blocks[start].rows if bound_s > blocks[start].last_s else 1
            while start and sure < wanted:
                start -= 1
                sure += blocks[start].rows
            sealed = self.columns(blocks[start:], keys)
            rows = newest(sealed, n, bound_s, scenes)
            if start == 0 or scenes is None or (not isinstance(rows, slice) and len(rows) == n):
                parts.append(_take(sealed, rows))
                break
            wanted *= 4
        tail = self.tails.get(user)
        if tail is not None:
            parts.append(_take_rows(tail, keys, newest(tail.rows, n, bound_s, scenes)))
        return _put(_merge(parts), n, names, out)

    def _with_keys(self, names: tuple[str, ...], scenes: Array | None) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*names, "time_s", *(() if scenes is None else ("scene",)))))


def _take(columns: Columns, rows: Rows) -> dict[str, Array]:
    return {name: values[rows] for name, values in columns.items()}


def _take_rows(tail: Tail, names: tuple[str, ...], rows: Rows) -> dict[str, Array]:
    taken = tail.rows[rows]
    return {name: taken[name] for name in names}


def _merge(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """Sealed rows, then the tail's, into one order by (time, arrival)."""
    if not parts:
        return {}
    merged = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    times = merged["time_s"]
    if np.any(times[1:] < times[:-1]):
        order = np.argsort(times, kind="stable")
        merged = {name: values[order] for name, values in merged.items()}
    return merged


def _put(columns: dict[str, Array], n: int | None, names: tuple[str, ...], out: Pieces) -> int:
    if not columns:
        return 0
    count = len(columns["time_s"])
    start = 0 if n is None else max(0, count - n)
    for pieces, name in zip(out, names, strict=True):
        pieces.append(columns[name][start:])
    return count - start
