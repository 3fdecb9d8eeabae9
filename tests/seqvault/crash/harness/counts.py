"""How much of the harness runs: a share in `make test`, all in `make crash`, long in `make crash-nightly`."""

import os
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

Case = TypeVar("Case")
SCALE = os.environ.get("SEQVAULT_CRASH", "share")


class Counts(NamedTuple):
    """One test's counts at the three scales."""

    share: int
    full: int
    nightly: int

    @property
    def now(self) -> int:
        return int(getattr(self, SCALE))


KILLS = Counts(4, 200, 5_000)
KILLS_A_POINT = Counts(1, 3, 50)
POWER_LOSSES = Counts(20, 500, 20_000)
BIT_FLIPS = Counts(120, 10_000, 1_000_000)
SWAPPED_STORES = Counts(1, 50, 1_000)
FULL_DEVICES = Counts(4, 50, 1_000)
FAULTY_CALLS = Counts(6, 300, 3_000)
MODEL_OPERATIONS = Counts(1_000, 100_000, 10_000_000)
FOLLOWED_KILLS = Counts(2, 30, 500)
MALFORMED_BLOCKS = Counts(1_300, 26_000, 1_600_000)
MALFORMED_RECORDS = Counts(1_500, 31_000, 1_900_000)
MALFORMED_FILES = Counts(130, 2_600, 160_000)


def some(cases: Sequence[Case], every: int) -> Sequence[Case]:
    """All cases, in the share every so many-th."""
    return cases[::every] if SCALE == "share" else cases
