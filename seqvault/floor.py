"""The floor of expiry: behaviours with time_s below it are forgotten for good, stored or yet to come.

A clock in milliseconds, or one far ahead, would make a floor that erases a store and all it is ever given. So
a floor must lie near what is stored, and whoever appends below one is warned.
"""

import warnings
from collections.abc import Iterable

from seqvault.errors import ExpiredWarning, StoreError
from seqvault.query import FIRST_S
from seqvault.schema import Array

__all__ = ["check_floor", "warn_of_expired"]


def check_floor(before_s: int, times: Iterable[Array], ttl_s: int | None, sequence: str) -> None:
    """Refuse a floor beyond the newest stored time plus the sequence's ttl_s (0 without one).

    Args:
        times: stored times in portions of any size; no more are taken than it needs.

    Raises:
        StoreError: no stored behaviour is so new, or there is none.
    """
    life_s, newest_s = ttl_s or 0, None
    for portion in times:
        if len(portion):
            newest = int(portion.max())
            newest_s = newest if newest_s is None else max(newest_s, newest)
            if newest_s + life_s >= before_s:
                return
    found = "it holds none" if newest_s is None else f"the newest is of {newest_s}"
    life = "" if ttl_s is None else f", and ttl_s is {ttl_s}"
    raise StoreError(
        f"sequence {sequence!r}: a floor of {before_s} s would hide all that is stored, and all that comes "
        f"before that time, for good: {found}{life}. Is it in seconds, and the clock right? Give force=True "
        "(--force) where all is to be forgotten"
    )


def warn_of_expired(times: Array, floor_s: int, sequence: str) -> None:
    """Warn the caller's caller where some of (N,) times lie below the floor.

    Warnings turned into errors refuse the append: it must not be written yet.
    """
    # Most stores have no floor, and looking at small appends is most of what this costs.
    if floor_s > FIRST_S and len(times) and times.min() < floor_s:
        # The same words for every append, so that by default each caller is warned once.
        warnings.warn(
            f"sequence {sequence!r}: behaviours before {floor_s} s have expired; they are never read",
            ExpiredWarning,
            stacklevel=3,
        )
