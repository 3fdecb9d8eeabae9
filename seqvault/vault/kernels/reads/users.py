"""A hash table of user ids in a flat array: the index and the tails find a user's slot in it.

A slot is `width` u8 words, the user id first; the word behind it is EMPTY where the slot is free. A search
goes from slot to slot, round the end. Tables are at most three quarters full, so it takes two or three of
them: with 16-byte slots usually one cache line.
"""

import numpy as np
from numba import njit

__all__ = ["EMPTY", "find_user", "slots_for"]

EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_U32 = np.uint64(32)


@njit(inline="always")
def find_user(table, slots, width, user):  # type: ignore[no-untyped-def]
    """Position in `table` of the user's slot, or of the free one where it belongs."""
    word = (user ^ (user >> _U32)) * _FACTOR
    word ^= word >> np.uint64(29)
    # The high half times the number of slots: any number of slots will do, not only powers of two.
    slot = (((word * _FACTOR) >> _U32) * slots) >> _U32
    at = slot * width
    while table[at] != user and table[at + np.uint64(1)] != EMPTY:
        at += width
        if at == slots * width:
            at = np.uint64(0)
    return at


def slots_for(users: int) -> int:
    """Slots of a table for so many users, with room for an eighth more before it grows."""
    return max(64, users * 3 // 2)
