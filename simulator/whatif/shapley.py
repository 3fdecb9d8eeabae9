"""Which part of an effect each of several changes makes, when the effect of any of them together is known.

Source: L. S. Shapley, A value for n-person games, Contributions to the Theory of Games II, 1953.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
Coalition = frozenset[str]


def coalitions(factors: Sequence[str]) -> list[Coalition]:
    """Every subset of the factors, small ones first."""
    return [frozenset(some) for size in range(len(factors) + 1) for some in combinations(factors, size)]


def shapley(factors: Sequence[str], value: Mapping[Coalition, F8]) -> dict[str, F8]:
    """Each factor's part: what it adds, averaged over every order in which the factors may be switched on.

    Args:
        factors: their names.
        value: of every subset, what it comes to.

    Returns:
        Parts that sum to the value of all factors minus that of none.
    """
    n = len(factors)
    parts = {}
    for factor in factors:
        others = [other for other in factors if other != factor]
        parts[factor] = np.zeros_like(value[frozenset()])
        for before in coalitions(others):
            weight = factorial(len(before)) * factorial(n - len(before) - 1) / factorial(n)
            parts[factor] = parts[factor] + weight * (value[before | {factor}] - value[before])
    return parts


def in_order(factors: Sequence[str], value: Mapping[Coalition, F8]) -> dict[str, F8]:
    """Each factor's part where they are switched on in this order, one after the other."""
    parts, before = {}, frozenset[str]()
    for factor in factors:
        parts[factor] = value[before | {factor}] - value[before]
        before |= {factor}
    return parts
