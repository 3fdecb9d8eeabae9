"""How much there is to judge by: units with an event, an exact test of their number, and how even they are.

Where an arm has no or few events a ratio's interval is undefined or not to be trusted; how many of its units
have one is a plain count, and Fisher's exact test of it holds at any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from simulator.analysis.log_ratio import F8


@dataclass(frozen=True)
class Events:
    """How many units of each arm have any of the metric's numerator.

    p_value: exact and two-sided (Fisher's test of units with and without), right however few there are,
        and where an arm has none.
    fewer: whether the treatment's share of units with one is below control's.
    effective: how many equal contributions would make the smaller arm's variance: (sum l^2)^2 / sum l^4;
        far fewer than events where single units outweigh the rest. None without an interval.
    """

    control: int
    treatment: int
    p_value: float
    fewer: bool
    effective: float | None = None


def count_events(arms: tuple[F8, F8], *, effective: bool = True) -> Events:
    """Count the units with an event in two arms, and compare.

    Args:
        arms: each (U, P), a row per unit, the numerator first, the denominator second.
        effective: whether both arms have a ratio to be the variance of.
    """
    having = [int((a[:, 0] != 0).sum()) for a in arms]
    table = np.array([[have, len(a) - have] for have, a in zip(having, arms, strict=True)])
    even = min(_effective(a) for a in arms) if effective else None
    exact = float(stats.fisher_exact(table).pvalue) if (table.sum(0) > 0).all() else 1.0
    shares = [have / len(a) if len(a) else 0.0 for have, a in zip(having, arms, strict=True)]
    return Events(having[0], having[1], exact, shares[1] < shares[0], even)


def _effective(arm: F8) -> float:
    linear = arm[:, 0] - arm[:, 0].sum() / arm[:, 1].sum() * arm[:, 1]
    top = float(np.abs(linear).max(initial=0.0))
    if top == 0:
        return float(len(arm))
    squares = (linear / top) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum())
