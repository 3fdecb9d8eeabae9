"""How much of the harness runs: a share in `make test`, all in `make crash`, long in `make crash-nightly`."""

import os
from typing import NamedTuple

SCALE = os.environ.get("SEQVAULT_CRASH", "share")


class Counts(NamedTuple):
    """One test's counts at the three scales."""

    share: int
    full: int
    nightly: int

    @property
    def now(self) -> int:
        return int(getattr(self, SCALE))


KILLS = Counts(8, 200, 5_000)
KILLS_A_POINT = Counts(1, 3, 50)
POWER_LOSSES = Counts(40, 500, 20_000)
BIT_FLIPS = Counts(300, 10_000, 1_000_000)
FULL_DEVICES = Counts(6, 50, 1_000)
FAULTY_CALLS = Counts(15, 300, 3_000)
MODEL_OPERATIONS = Counts(2_000, 100_000, 10_000_000)
FOLLOWED_KILLS = Counts(3, 30, 500)
FUZZ_SECONDS = Counts(2, 60, 3_600)
