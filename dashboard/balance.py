"""Whether the arms' users were alike before the experiment: from the users table to rows of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.results.schemas import USERS

BEFORE = "pre_"  # begins the names of what the users table has from before the experiment
COLUMNS = tuple(name for name in USERS.names if name.startswith(BEFORE))
LARGE = 0.1  # standard deviations; above, the arms differ by more than chance leaves of many users


@dataclass(frozen=True)
class Balance:
    """One total of users before the experiment: means per user and their difference.

    Attributes:
        column: of the users table.
        control, treatment: means.
        difference: treatment minus control, in standard deviations of a user; None where nobody differs.
        p_value: of no difference, by the normal approximation; None likewise.
    """

    column: str
    control: float
    treatment: float
    difference: float | None
    p_value: float | None

    @property
    def total(self) -> str:
        """Which total of the user it is."""
        return self.column.removeprefix(BEFORE)


def balance(users: pa.Table, control: str, treatment: str) -> list[Balance]:
    """Every total of COLUMNS; none where an arm has fewer than two users."""
    arm = users["arm"].cast(pa.string())
    own, other = (users.filter(pc.equal(arm, name)) for name in (treatment, control))
    if min(own.num_rows, other.num_rows) < 2:
        return []
    found = []
    for column in COLUMNS:
        a, b = (table[column].to_numpy().astype(float) for table in (other, own))
        between = float(b.mean() - a.mean())
        spread = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        error = math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
        p = math.erfc(abs(between) / error / math.sqrt(2)) if error else None
        difference = between / spread if spread else None
        found.append(Balance(column, float(np.mean(a)), float(np.mean(b)), difference, p))
    return found
