"""Column codecs: how one column of a block becomes words, and rows of it values again.

A section is a sequence of two-byte words:

    word 0: bits 0-3 codec | bit 4 BASE | 5 LAST | bits 6-7: 0 | bits 8-15: 1 + parent column, 0 for none
    [BASE] four words: base, modulo 2**64
    FRAME  stream of value - base
    DELTA  stream of value - value before, 0 first; base is the last value (LAST: the block's last_s), from
           which rows are summed backwards: a suffix is read by itself
    DICT   entries - 1;  stream of the gaps between the sorted distinct values, 0 first, base the smallest;
           stream of each value's rank
    [parent] the streams above are a table with one value for each entry of the parent column's dictionary, a
           row's value the one at its parent's rank; behind it the misfits

Misfits are rows whose value is another: their count and, if there are any, a head, gaps and values, in full.

A category is mostly a function of its item: stored once per item instead of once per row, it takes a third of
the space. Of the ways open to a column the one with fewest estimated bits is taken.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqvault.schema import Array
from seqvault.vault.format.damage import BAD_COLUMN, BlockDamage
from seqvault.vault.format.patched import (
    BytePlanes,
    cheapest_width,
    over_counts,
    pack_patches,
    pack_stream,
    patch_bits,
    read_patches,
    read_stream,
)
from seqvault.vault.format.words import Words

__all__ = [
    "DELTA",
    "DICT",
    "FRAME",
    "Candidate",
    "Coded",
    "Source",
    "best",
    "derived",
    "read_coded",
    "read_column",
    "section",
]

FRAME, DELTA, DICT = 0, 1, 2
BASE, LAST, UNUSED, PARENT = 0x10, 0x20, 0xC0, 8
CODEC = 0xF
# A frame this narrow is left: no dictionary can gain much on it.
NARROW_BITS = 4
MISFITS_BITS = 16
RANK_BITS = 16
_SIGN = np.uint64(1 << 63)


class Coded(NamedTuple):
    """A dictionary column: ranks of some rows, (R,) i8; its sorted values, u8, more than the highest rank."""

    ranks: Array
    table: Array


class Candidate(NamedTuple):
    """One way to store a column: its estimated bits, and what its section consists of."""

    bits: int
    codec: int
    base: int
    streams: tuple[Array, ...]
    parent: int = -1
    misfits: tuple[Array, Array] | None = None


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
        parent: position of the column whose rows have `ranks`, (N,), in a dictionary of `entries`.
    """
    rows = len(values)
    table = values[_firsts(ranks, entries)]
    at = np.flatnonzero(table[ranks] != values)
    if 4 * len(at) > rows:
        return None
    found = best(table, signed, "auto", False)
    more = MISFITS_BITS + misfit_bits(rows, at, values)
    return found._replace(bits=found.bits + more, parent=parent, misfits=(at, values[at]))


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
    parts += [pack_stream(stream, planes) for stream in found.streams]
    if found.misfits is not None:
        parts.append(_misfit_words(*found.misfits))
    return np.concatenate(parts)


class Source(NamedTuple):
    """What a column is read with besides its section.

    Args:
        last_s: the block's last time.
        parent: (column, first, last) -> ranks and dictionary of another column.
        planes: what decompresses byte planes.
    """

    last_s: int = 0
    parent: Callable[[int, int, int], Coded] | None = None
    planes: BytePlanes | None = None


def read_column(words: Words, rows: tuple[int, int, int], source: Source) -> Array:
    """Values of some rows, (last - first,) u8, from the section under the cursor.

    Args:
        rows: rows of the block; first and last (behind it) of those to read.

    Raises:
        BlockDamage: the section contradicts itself.
    """
    head = words.one()
    if head & UNUSED:
        raise BlockDamage(BAD_COLUMN)
    if not head >> PARENT:
        return _read_plain(words, head, rows, source)
    assert source.parent is not None
    coded = source.parent((head >> PARENT) - 1, *rows[1:])
    entries = len(coded.table)
    table = _read_plain(words, head, (entries, 0, entries), source)
    return _read_misfits(words, table[coded.ranks], rows)


def read_coded(words: Words, rows: tuple[int, int, int], source: Source) -> Coded:
    """Ranks and dictionary of a column. Raises BlockDamage when it has none, or a parent itself."""
    head = words.one()
    if head & CODEC != DICT or head >> PARENT:
        raise BlockDamage(BAD_COLUMN)
    return _read_coded(words, head, rows, source)


def _read_plain(words: Words, head: int, rows: tuple[int, int, int], source: Source) -> Array:
    count, first, last = rows
    codec = head & CODEC
    if codec == DICT:
        coded = _read_coded(words, head, rows, source)
        values: Array = coded.table[coded.ranks]
        return values
    base = _read_base(words, head, source.last_s)
    if codec == FRAME:
        return read_stream(words, count, first, last, source.planes) + base
    if codec != DELTA:
        raise BlockDamage(BAD_COLUMN)
    deltas = read_stream(words, count, first, count, source.planes)
    # Row i is the base less the differences behind it.
    behind = np.cumsum(deltas[::-1])[::-1]
    return (base - (behind - deltas))[: last - first]


def _read_coded(words: Words, head: int, rows: tuple[int, int, int], source: Source) -> Coded:
    count, first, last = rows
    base = _read_base(words, head, 0)
    entries = words.one() + 1
    gaps = read_stream(words, entries, 0, entries, source.planes)
    ranks = read_stream(words, count, first, last, source.planes, RANK_BITS)
    if len(ranks) and int(ranks.max()) >= entries:
        raise BlockDamage(BAD_COLUMN)
    return Coded(ranks.astype("i8"), np.cumsum(gaps) + base)


def _read_misfits(words: Words, values: Array, rows: tuple[int, int, int]) -> Array:
    misfits = words.one()
    if misfits:
        at, found = read_patches(words, (misfits, words.one()), *rows)
        values[at] = found
    return values


def _read_base(words: Words, head: int, last_s: int) -> np.uint64:
    if head & LAST:
        return np.uint64(last_s & 0xFFFFFFFFFFFFFFFF)
    return np.uint64(words.four() if head & BASE else 0)


def _misfit_words(at: Array, values: Array) -> Array:
    if len(at) == 0:
        return np.zeros(1, "<u2")
    head, lanes = pack_patches(at, values)
    return np.concatenate([head, lanes])


def _bits(found: Candidate) -> int:
    return found.bits


def misfit_bits(rows: int, at: Array, values: Array) -> int:
    """Estimated bits of the misfits among `rows` rows."""
    return patch_bits(rows, len(at), int(values[at].max(initial=0)).bit_length())


def _firsts(ranks: Array, entries: int) -> Array:
    """The first row of each rank, (entries,) i8."""
    firsts = np.zeros(entries, "i8")
    # Written backwards, so that the first row stays.
    firsts[ranks[::-1]] = np.arange(len(ranks) - 1, -1, -1)
    return firsts


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
    return _coded(distinct, ranks.astype("u8"), flip)


def _coded(distinct: Array, ranks: Array, flip: np.uint64) -> Candidate:
    gaps = np.zeros_like(distinct)
    gaps[1:] = np.diff(distinct)
    bits = cheapest_width(len(gaps), over_counts(gaps))[1]
    bits += cheapest_width(len(ranks), over_counts(ranks))[1]
    return _candidate(DICT, int(distinct[0] ^ flip), (gaps, ranks), bits + 16)


def _candidate(codec: int, base: int, streams: tuple[Array, ...], bits: int) -> Candidate:
    return Candidate(bits + (64 if base else 0), codec, base, streams)
