"""Shared blocks whole: all rows of some of their columns, and the entries of all their users."""

from collections.abc import Sequence

from numpy.typing import DTypeLike

from seqvault.schema import Array
from seqvault.vault.format.block import SHARED, BlockHeader, decode_columns_plain, read_header
from seqvault.vault.format.damage import NOT_EXPECTED, BlockDamage
from seqvault.vault.format.shared import entries_of, positions

__all__ = ["shared_entries", "whole_columns"]


def whole_columns(
    header: BlockHeader, block: Array, places: Sequence[tuple[int, DTypeLike]], *, plain: bool
) -> list[Array]:
    """Every row of some columns.

    Args:
        header, block: as read_header found it, and its bytes, in memory that may be written.
        places: position of each column, and its dtype.
        plain: by numpy alone.

    Raises:
        BlockDamage: the block contradicts itself, or lacks such a column.
    """
    if plain:
        return decode_columns_plain(header, block, (0, header.rows), places)
    from seqvault.vault.compiled.compiled_whole import decode_whole

    return decode_whole(header, block, places)


def shared_entries(block: Array, offset: int, *, plain: bool) -> Array:
    """(U,) ENTRY of the users of a shared block, by id.

    Args:
        block: its bytes, in memory that may be written.
        offset: where it lies in its segment.

    Raises:
        BlockDamage: it is no intact shared block.
    """
    header = read_header(block)
    if header.kind != SHARED:
        raise BlockDamage(NOT_EXPECTED)
    users, times = whole_columns(header, block[: header.size], positions(header), plain=plain)
    return entries_of(header, offset, users, times)
