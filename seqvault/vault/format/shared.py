"""Shared blocks: the whole histories of many users with few behaviours, in one block.

A block of their own costs a user some 130 bytes besides the rows. So the rows of users with few of them
stand one user behind the other, sorted by id, as the rows of one block whose last column is the user:

    | block's header, `kind` 1, `user` the first one | sizes | time_s | item_id | ... | users |

`start`, `first_s` and `last_s` of the header are 0 and the times of the first and last row. A user's rows are
found by their id. They are always the whole sealed history, so that a newer entry replaces all of it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from seqvault.schema import Array, Column, HistorySchema
from seqvault.vault.format.block import BlockHeader
from seqvault.vault.format.damage import BAD_COLUMN, NOT_EXPECTED, BlockDamage
from seqvault.vault.format.entries import ENTRY, SHARES
from seqvault.vault.format.rows_by_user import cuts

__all__ = [
    "SMALL_ROWS",
    "USERS",
    "entries_of",
    "find_user",
    "groups",
    "may_share",
    "positions",
    "with_users",
]

USERS = Column("_users", "u8", codec="delta")
"""The last column of a shared block: whose each row is, sorted."""

# A history of more rows has blocks of its own: what they cost in themselves is a byte per row, or less.
SMALL_ROWS = 128
# Rows of a shared block: some 10 kB, so that reading one user's costs little more than a block of their own,
# and what a block costs in itself is a fifth of a byte per row.
_SHARED_ROWS = 1024
_MOST_COLUMNS = 64


def may_share(schema: HistorySchema) -> bool:
    """Whether there is room for one column more."""
    return len(schema.columns) < _MOST_COLUMNS and USERS.name not in schema.names


def with_users(schema: HistorySchema) -> HistorySchema:
    """The columns of a shared block of this schema."""
    return dataclasses.replace(schema, columns=(*schema.columns, USERS))


def groups(bounds: Array) -> Array:
    """Which users share a block: (B+1,) i8 bounds of users, for (U+1,) bounds of their rows, U > 0."""
    edges: Array = np.concatenate(([0], cuts(bounds[1:], _SHARED_ROWS), [len(bounds) - 1]))
    return edges


def find_user(users: Array, user: int, rows: int) -> int:
    """The first of a user's rows among (N,) `users` of a block.

    Raises:
        BlockDamage: the user does not have exactly so many.
    """
    wanted = np.uint64(user)
    first, behind = (int(np.searchsorted(users, wanted, side)) for side in ("left", "right"))
    if behind - first != rows:
        raise BlockDamage(NOT_EXPECTED)
    return first


def entries_of(header: BlockHeader, offset: int, users: Array, times: Array) -> Array:
    """(U,) ENTRY of a shared block's users.

    Args:
        offset: where the block lies.
        users, times: (N,) of each row.

    Raises:
        BlockDamage: its users are not sorted.
    """
    if not len(users) or np.any(users[1:] < users[:-1]):
        raise BlockDamage(BAD_COLUMN)
    firsts = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
    behind = np.append(firsts[1:], len(users))
    entries = np.zeros(len(firsts), ENTRY)
    entries["user"], entries["rows"] = users[firsts], behind - firsts
    entries["first_s"], entries["last_s"] = times[firsts], times[behind - 1]
    entries["offset"], entries["size"] = offset, header.size + SHARES
    return entries


def positions(header: BlockHeader) -> Sequence[tuple[int, str]]:
    """Place and dtype of a shared block's users and times. Raises BlockDamage where it lacks them."""
    if header.columns < 2:
        raise BlockDamage(BAD_COLUMN)
    return (header.columns - 1, USERS.dtype), (0, "i8")
