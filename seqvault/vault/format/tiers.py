"""Which stored blocks sealing rewrites together with a user's new behaviours, and how rows become blocks.

Small blocks are merged in tiers, each up to four times as large as the one below: new behaviours become a
block of their own until a tier holds three, and the fourth merges them. So a behaviour is written about once
a tier on its way into a full block, and a user has at most three small blocks a tier. Below a sixteenth of a
full block two are merged, for there a block's header weighs as much as its rows.

These loops run compiled (kernels/tiers.py) or, where numba may not, as they are.
"""

import numpy as np

from seqvault.schema import Array

__all__ = ["columns", "cut_blocks", "kept_blocks"]

_FAN = 4


def kept_blocks(
    bounds: Array, rows: Array, last_s: Array, new_rows: Array, first_s: Array, full: int
) -> Array:
    """How many of each user's blocks stay as they are; the later ones are rewritten.

    Args:
        bounds: (U+1,) i8; user i's blocks are bounds[i]:bounds[i+1], oldest first.
        rows, last_s: (B,) i8, the blocks' rows and last times.
        new_rows, first_s: (U,) i8, each user's new behaviours and the first time among them.
        full: rows of a full block.

    Returns:
        (U,) i8.
    """
    kept = np.empty(len(new_rows), np.int64)
    for u in range(len(new_rows)):
        begin, end, total = bounds[u], bounds[u + 1], new_rows[u]
        # Late behaviours: blocks of one user never overlap in time.
        while end > begin and last_s[end - 1] > first_s[u]:
            end -= 1
            total += rows[end]
        while True:
            # Rows for a full block take any smaller one along, or it would stay behind it for ever.
            fan = 2 if total * 16 <= full or total >= full else _FAN
            largest = full
            while largest // fan >= max(total, 1):
                largest //= fan
            first, merged = end, total
            while first > begin and rows[first - 1] <= largest and rows[first - 1] < full:
                first -= 1
                merged += rows[first]
            if end - first < fan - 1:
                break
            end, total = first, merged
        kept[u] = end - begin
    return kept


def columns(blocks: Array) -> tuple[Array, Array]:
    """(rows, last_s) of BLOCK records as kept_blocks takes them."""
    return blocks["rows"].astype("i8"), np.ascontiguousarray(blocks["last_s"])


def cut_blocks(totals: Array, full: int, old: int) -> tuple[Array, Array]:
    """Cut each user's rows into blocks.

    Args:
        totals: (U,) i8 rows of each user.
        full: rows of a full block.
        old: rows of a block that is older than the newest `full` rows.

    Returns:
        (K,) i8 the user's place of each block, and (K,) i8 its rows; a user's oldest block first.
    """
    count = 0
    for total in totals:
        older = max(total - full, 0) if old > full else 0
        count += -(-older // old) + -(-(total - older) // full)
    users, rows = np.empty(count, np.int64), np.empty(count, np.int64)
    k = 0
    for u in range(len(totals)):
        total = totals[u]
        older = max(total - full, 0) if old > full else 0
        left = total
        while left > 0:
            size = min(full, left)
            if left > total - older:
                # What does not fill a block is the very oldest: few reads get there.
                rest = (left - (total - older)) % old
                size = rest if rest > 0 else old
            users[k], rows[k] = u, size
            left -= size
            k += 1
    return users, rows
