"""Column codecs: how one column of a block becomes words, and rows of it values again.

A section is a sequence of two-byte words:

    word 0: bits 0-3 codec | bit 4 BASE | bit 5 LAST | bits 8-15: 1 + position of the parent column, 0 for none
    [BASE] four words: base, modulo 2**64
    FRAME  stream of value - base
    DELTA  stream of value - value before, 0 first; base is the last value (LAST: the block's last_s), from
           which rows are summed backwards: a suffix is read by itself
    DICT   entries - 1;  stream of the gaps between the sorted distinct values, 0 first, base the smallest;
           stream of each value's rank
    [parent] the section above is a table with one entry for each dictionary entry of the parent column, a row's
           value the one at its parent's rank; behind it: count of misfits, their head, gaps and values, in full

A category is mostly a function of its item: stored once an item instead of once a row, it takes a third of the
space. Of the ways open to a column the one with fewest estimated bits is taken.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqvault.schema import Array
from seqvault.vault.damage import BAD_COLUMN, BlockDamage
from seqvault.vault.lanes import lane_words
from seqvault.vault.patched import (
    BytePlanes,
    cheapest_width,
    over_counts,
    pack_patches,
    pack_stream,
    patch_bits,
    read_patches,
    read_stream,
)
from seqvault.vault.words import Words

__all__ = [
    "DELTA",
    "DICT",
    "FRAME",
    "Candidate",
    "Ranks",
    "best",
    "derived",
    "read_column",
    "read_ranks",
    "section",
    "words_of",
]

FRAME, DELTA, DICT = 0, 1, 2
BASE, LAST, ITEMS, FROM_ITEMS, PARENT = 0x10, 0x20, 0x40, 0x80, 8
CODEC = 0xF
# A frame this narrow is left: no dictionary can gain much on it.
NARROW_BITS = 4
_SIGN = np.uint64(1 << 63)


class Ranks(NamedTuple):
    """A dictionary column's ranks of some rows, each below `entries`."""

    ranks: Array
    entries: int


class Candidate(NamedTuple):
    """One way to store a column: its estimated bits, and what its section consists of."""

    bits: int
    codec: int
    base: int
    streams: tuple[Array, ...]
    parent: int = -1
    misfits: tuple[Array, Array] | None = None


def words_of(values: Array) -> Array:
    """Integers of any width as u8, modulo 2**64."""
    return values.astype("i8").view("u8") if values.dtype.kind == "i" else values.astype("u8")


def best(values: Array, signed: bool, codec: str, first: bool) -> Candidate:
    """The cheapest candidate that needs no other column.

    Args:
        values: (N,) u8, modulo 2**64.
        signed: whether they stand for signed integers.
        codec: the column's hint.
        first: whether it is the column of times.
    """
    flip = _SIGN if signed else np.uint64(0)
    if codec == "delta":
        return _delta(values)
    if codec == "dict":
        return _dictionary(values, flip)
    found = _frame(values, flip)
    if codec == "frame":
        return found
    if first:
        return min(found, _delta(values), key=_bits)
    if found.bits > NARROW_BITS * len(values):
        return min(found, _dictionary(values, flip), key=_bits)
    return found


def derived(values: Array, signed: bool, parent: int, ranks: Array, entries: int) -> Candidate | None:
    """The candidate that takes a row's value from its parent's rank; None when too many rows do not fit.

    Args:
        values: (N,) u8.
        parent: position of the column whose dictionary has `entries` entries and whose rows have `ranks`, (N,).
    """
    rows = len(values)
    firsts = np.zeros(entries, "i8")
    # Written backwards, so that the first row of a rank stays.
    firsts[ranks[::-1]] = np.arange(rows - 1, -1, -1)
    table = values[firsts]
    at = np.flatnonzero(table[ranks] != values)
    if 4 * len(at) > rows:
        return None
    found = best(table, signed, "auto", False)
    misfits = values[at]
    wide = int(misfits.max()).bit_length() if len(at) else 0
    return found._replace(
        bits=found.bits + 16 + patch_bits(rows, len(at), wide), parent=parent, misfits=(at, misfits)
    )


def section(found: Candidate, column: int, last_s: int, planes: BytePlanes | None) -> Array:
    """The words of a column."""
    is_last = column == 0 and found.codec == DELTA and found.base == last_s & 0xFFFFFFFFFFFFFFFF
    head = found.codec | (found.parent + 1) << PARENT
    base: list[int] = []
    if is_last:
        head |= LAST
    elif found.base:
        head |= BASE
        base = [found.base >> shift & 0xFFFF for shift in (0, 16, 32, 48)]
    if found.codec == DICT:
        base.append(len(found.streams[0]) - 1)
    parts = [np.array([head, *base], "<u2")]
    for i, stream in enumerate(reversed(found.streams)):
        parts.insert(1, pack_stream(stream, 2 * column + i, planes))
    if found.misfits is not None:
        parts.append(_misfit_words(*found.misfits))
    return np.concatenate(parts)


def read_column(
    words: Words,
    column: int,
    rows: tuple[int, int, int],
    last_s: int,
    parent: Callable[[int, int, int], Ranks],
    planes: BytePlanes | None,
) -> Array:
    """Values of some rows, (last - first,) u8, from the section under the cursor.

    Args:
        rows: rows of the block; first and last (behind it) of those to read.
        parent: (column, first, last) -> ranks of a dictionary column.

    Raises:
        BlockDamage: the section contradicts itself.
    """
    count, first, last = rows
    head = words.one()
    if not head >> PARENT:
        return _read_plain(words, head, column, rows, last_s, planes)
    ranks, entries = parent((head >> PARENT) - 1, first, last)
    table = _read_plain(words, head, column, (entries, 0, entries), last_s, planes)
    values: Array = table[ranks]
    misfits = words.one()
    if misfits:
        at, found = read_patches(words, (misfits, words.one()), count, first, last)
        values[at] = found
    return values


def read_ranks(words: Words, column: int, rows: tuple[int, int, int], planes: BytePlanes | None) -> Ranks:
    """Ranks of a dictionary column's rows. Raises BlockDamage when it is none, or has a parent itself."""
    count, first, last = rows
    head = words.one()
    if head & CODEC != DICT or head >> PARENT:
        raise BlockDamage(BAD_COLUMN)
    _read_base(words, head, 0)
    entries = words.one() + 1
    read_stream(words, entries, 0, entries, 2 * column + 1, planes)
    return _checked(Ranks(read_stream(words, count, first, last, 2 * column, planes), entries))


def _read_plain(
    words: Words, head: int, column: int, rows: tuple[int, int, int], last_s: int, planes: BytePlanes | None
) -> Array:
    count, first, last = rows
    codec, base = head & CODEC, _read_base(words, head, last_s)
    if codec == FRAME:
        return read_stream(words, count, first, last, 2 * column, planes) + base
    if codec == DELTA:
        deltas = read_stream(words, count, first, count, 2 * column, planes)
        # Row i is the base less the differences behind it.
        behind = np.cumsum(deltas[::-1])[::-1]
        return (base - (behind - deltas))[: last - first]
    if codec != DICT:
        raise BlockDamage(BAD_COLUMN)
    entries = words.one() + 1
    table = np.cumsum(read_stream(words, entries, 0, entries, 2 * column + 1, planes)) + base
    ranks = _checked(Ranks(read_stream(words, count, first, last, 2 * column, planes), entries))
    values: Array = table[ranks.ranks]
    return values


def _read_base(words: Words, head: int, last_s: int) -> np.uint64:
    if head & LAST:
        return np.uint64(last_s & 0xFFFFFFFFFFFFFFFF)
    return np.uint64(words.four() if head & BASE else 0)


def _checked(ranks: Ranks) -> Ranks:
    if len(ranks.ranks) and int(ranks.ranks.max()) >= ranks.entries:
        raise BlockDamage(BAD_COLUMN)
    return ranks


def _misfit_words(at: Array, values: Array) -> Array:
    if len(at) == 0:
        return np.zeros(1, "<u2")
    head, lanes = pack_patches(at, values)
    return np.concatenate([head, lanes])


def _bits(found: Candidate) -> int:
    return found.bits


def _frame(values: Array, flip: np.uint64) -> Candidate:
    base = (values ^ flip).min() ^ flip
    offsets = values - base
    return _candidate(FRAME, int(base), (offsets,), cheapest_width(len(values), over_counts(offsets))[1])


def _delta(values: Array) -> Candidate:
    deltas = np.zeros_like(values)
    deltas[1:] = values[1:] - values[:-1]
    bits = cheapest_width(len(values), over_counts(deltas))[1]
    return _candidate(DELTA, int(values[-1]), (deltas,), bits)


def _dictionary(values: Array, flip: np.uint64) -> Candidate:
    distinct, ranks = np.unique(values ^ flip, return_inverse=True)
    gaps = np.zeros_like(distinct)
    gaps[1:] = np.diff(distinct)
    ranks = ranks.astype("u8")
    bits = cheapest_width(len(gaps), over_counts(gaps))[1]
    bits += cheapest_width(len(ranks), over_counts(ranks))[1]
    return _candidate(DICT, int(distinct[0] ^ flip), (gaps, ranks), bits + 16)


def _candidate(codec: int, base: int, streams: tuple[Array, ...], bits: int) -> Candidate:
    return Candidate(bits + (64 if base else 0), codec, base, streams)
