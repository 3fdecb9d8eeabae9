"""Making a dictionary from behaviours a store holds."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import zstandard

from seqvault.schema import Array, HistorySchema
from seqvault.vault.format.block import plan_columns
from seqvault.vault.format.codec import section
from seqvault.vault.format.dictionary import Dictionary
from seqvault.vault.format.items import ItemTable, words_of

__all__ = ["build_dictionary"]

# Blocks this small are what a trained dictionary is for, and so many of them enough to train one.
_PIECE_ROWS, _PIECES = 512, 400
# What counts is the table of the entropy coder; longer dictionaries make blocks no smaller.
_TRAINED_BYTES, _LEAST_PLANES = 512, 20
# Pairs collected before repeated ones are merged.
_MERGED = 1 << 22


def build_dictionary(
    schema: HistorySchema,
    samples: Iterable[Mapping[str, Array]],
    number: int,
    *,
    trained: bool = True,
    items: bool = True,
) -> Dictionary:
    """A dictionary for blocks of a schema.

    Args:
        samples: rows, each sample in the order of one user's time; for the item table all the store has.
        number: id of the dictionary, 1 or more.
        trained: whether to train zstd dictionaries.
        items: whether to number items. They are the column with the largest dictionary of its values, if
            another column mostly follows from it.
    """
    counter: _Counter | None = None
    pieces: list[list[Array]] = []
    for columns in samples:
        arrays = [columns[name] for name in schema.names]
        if items and counter is None:
            counter = _counter(schema, arrays)
        if counter:
            counter.add(arrays)
        if trained and len(pieces) < _PIECES and len(arrays[0]):
            # One of a sample, so that they are of many users.
            pieces.append([array[-_PIECE_ROWS:].copy() for array in arrays])
    table = counter.table() if counter else None
    return Dictionary(number, schema.id, _train(schema, pieces, table), table)


class _Counter:
    """Counts how often each item occurs with each attribute."""

    def __init__(self, key: int, attribute: int) -> None:
        self._key = key
        self._attribute = attribute
        self._dtypes: tuple[str, str] | None = None
        self._waiting: list[tuple[Array, Array, Array]] = []
        self._pairs = 0

    def add(self, columns: Sequence[Array]) -> None:
        """Count the rows of all columns of a schema."""
        values, attributes = columns[self._key], columns[self._attribute]
        self._dtypes = values.dtype.str[1:], attributes.dtype.str[1:]
        self._waiting.append((words_of(values), words_of(attributes), np.ones(len(values), "i8")))
        self._pairs += len(values)
        if self._pairs > _MERGED:
            self._merge()
            # Twice what is left: else a large catalogue would be merged for every sample.
            self._pairs = -len(self._waiting[0][0])

    def table(self) -> ItemTable | None:
        """Each item with its most frequent attribute."""
        self._merge()
        values, attributes, counts = self._waiting[0]
        if self._dtypes is None or len(values) == 0:
            return None
        order = np.lexsort((counts, values))
        last = order[np.append(values[order][1:] != values[order][:-1], True)]
        last = last[np.lexsort((values[last], attributes[last]))]
        dtypes = self._dtypes
        return ItemTable(
            self._key, self._attribute, values[last].astype(dtypes[0]), attributes[last].astype(dtypes[1])
        )

    def _merge(self) -> None:
        if not self._waiting:
            self._waiting = [(np.empty(0, "u8"), np.empty(0, "u8"), np.empty(0, "i8"))]
        values, attributes, counts = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        order = np.lexsort((attributes, values))
        values, attributes, counts = values[order], attributes[order], counts[order]
        new = np.ones(len(values), "?")
        new[1:] = (values[1:] != values[:-1]) | (attributes[1:] != attributes[:-1])
        firsts = np.flatnonzero(new)
        sums = np.add.reduceat(counts, firsts) if len(firsts) else counts
        self._waiting = [(values[firsts], attributes[firsts], sums)]


def _counter(schema: HistorySchema, columns: Sequence[Array]) -> _Counter | None:
    """For the items' column and the one that follows from it, if one sample's rows show such."""
    if len(columns[0]) == 0:
        return None
    plans = plan_columns(schema, columns)
    followers = [i for i, plan in enumerate(plans) if plan.parent >= 0]
    if not followers:
        return None
    # The one that takes most on its own gains most.
    alone = plan_columns(schema, columns, follow=False)
    attribute = max(followers, key=lambda i: alone[i].bits - plans[i].bits)
    return _Counter(plans[attribute].parent, attribute)


class _Recorder:
    """Keeps byte planes by kind instead of compressing them."""

    def __init__(self) -> None:
        self.planes: dict[int, list[bytes]] = {}

    def trained(self, kind: int) -> bool:
        return True

    def compress(self, kind: int, plane: bytes) -> bytes:
        self.planes.setdefault(kind, []).append(plane)
        return plane

    def decompress(self, kind: int, frame: bytes, count: int) -> bytes:
        raise NotImplementedError


def _train(
    schema: HistorySchema, pieces: Sequence[Sequence[Array]], items: ItemTable | None
) -> tuple[bytes, ...]:
    recorder = _Recorder()
    for columns in pieces:
        for i, plan in enumerate(plan_columns(schema, columns, items)):
            section(plan, i, int(columns[0][-1]), recorder)
    return tuple(_dictionary(recorder.planes.get(kind, [])) for kind in range(2 * len(schema.columns)))


def _dictionary(planes: Sequence[bytes]) -> bytes:
    if len(planes) < _LEAST_PLANES:
        return b""
    try:
        trained: bytes = zstandard.train_dictionary(_TRAINED_BYTES, [*planes], level=1).as_bytes()
    except zstandard.ZstdError:
        # Too few or too uniform samples: such planes do without.
        return b""
    return trained
