"""Rows out of shared blocks: each block is read and decoded once, whoever of its users is wanted."""

from collections.abc import Mapping, Sequence

import numpy as np

from seqvault.schema import Array, HistorySchema
from seqvault.vault.compiled.refusals import Segments, refuse
from seqvault.vault.compiled.whole import whole_columns
from seqvault.vault.format.block import SHARED, read_header
from seqvault.vault.format.damage import BAD_COLUMN, NOT_EXPECTED, BlockDamage, damage
from seqvault.vault.format.entries import block_sizes
from seqvault.vault.format.shared import positions

__all__ = ["fetch_shared"]


def fetch_shared(
    segments: Segments,
    versions: Sequence[HistorySchema],
    entries: Array,
    places: Array,
    columns: Mapping[str, Array],
    *,
    plain: bool,
) -> None:
    """Write the rows of users in shared blocks into columns; see Blocks.fetch.

    Args:
        entries: (K,) BLOCK of shared blocks.
        places: (K,) where each one's rows begin in `columns`.

    Raises:
        DamagedDataError: a block is not what its entries say.
    """
    if not len(entries):
        return
    by_block = np.lexsort((entries["user"], entries["offset"], entries["slot"]))
    entries, places = entries[by_block], places[by_block]
    same = (entries["offset"][1:] == entries["offset"][:-1]) & (entries["slot"][1:] == entries["slot"][:-1])
    for of_block in np.split(np.arange(len(entries)), np.flatnonzero(~same) + 1):
        wanted = entries[of_block]
        try:
            found = _rows_of(segments, versions, wanted, plain=plain)
        except BlockDamage as error:
            refuse(segments, wanted[0], damage(error.code))
        goal = _ranges(places[of_block], wanted["rows"])
        for name, values in found.items():
            columns[name][goal] = values


def _rows_of(
    segments: Segments, versions: Sequence[HistorySchema], wanted: Array, *, plain: bool
) -> dict[str, Array | int]:
    """Rows of some users of one block, user by user, in the newest version's columns; defaults as numbers."""
    newest = versions[-1]
    at, size = int(wanted["offset"][0]), int(block_sizes(wanted)[0])
    block = np.frombuffer(bytearray(segments[int(wanted["slot"][0])].read(at, size)), "u1")
    header = read_header(block, 0, size)
    written = {version.id: version for version in versions}.get(header.schema_id)
    if written is None or header.kind != SHARED:
        raise BlockDamage(NOT_EXPECTED)
    if header.columns != len(written.columns) + 1:
        raise BlockDamage(BAD_COLUMN)
    stored = [name for name in newest.names if name in written.names]
    of_stored = [(written.names.index(name), written.dtype(name)) for name in stored]
    users, times, *values = whole_columns(header, block, [*positions(header), *of_stored], plain=plain)
    firsts = np.searchsorted(users, wanted["user"], "left")
    behind = np.searchsorted(users, wanted["user"], "right")
    if np.any(behind - firsts != wanted["rows"]):
        raise BlockDamage(NOT_EXPECTED)
    if np.any(times[firsts] != wanted["first_s"]) or np.any(times[behind - 1] != wanted["last_s"]):
        raise BlockDamage(NOT_EXPECTED)
    rows = _ranges(firsts, wanted["rows"])
    found: dict[str, Array | int] = {column.name: column.default for column in newest.columns}
    return found | {name: of_column[rows] for name, of_column in zip(stored, values, strict=True)}


def _ranges(firsts: Array, counts: Array) -> Array:
    """firsts[0], firsts[0] + 1, ... (counts[0] of them), firsts[1], ..."""
    ends = np.cumsum(counts, dtype="i8")
    ranges: Array = np.arange(ends[-1]) + np.repeat(firsts.astype("i8") - (ends - counts), counts)
    return ranges
