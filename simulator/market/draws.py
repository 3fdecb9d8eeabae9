"""The auction's draws inside compiled code: `simulator.draws.uniform`, one number at a time.

A page's clicks change budgets and budgets change later pages, so the loop must draw as it goes.
Hashing the key of the one ad that won is cheaper than drawing for every candidate and slot ahead,
and the numbers are those of `uniform(seed, cause, *ids)` bit for bit; a test keeps it.
"""

from __future__ import annotations

import numpy as np

from simulator.draws import bits
from simulator.kept_code import njit_kept

# Causes of the market's draws.
CLICK = "click"
CONVERSION = "conversion"
DELAY = "conversion-delay"
THROTTLE = "throttle"

# SplitMix64's constants, as in simulator.draws.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = (np.uint64(s) for s in (30, 27, 31, 11))


def key(seed: int, cause: str) -> np.uint64:
    """The key's constant part: what `uniform(seed, cause, ...)` starts from."""
    return np.uint64(bits(seed, cause))


@njit_kept(inline="always")
def _mix(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> _S30)) * _MIX_1
    x = (x ^ (x >> _S27)) * _MIX_2
    return x ^ (x >> _S31)


@njit_kept()
def fold(state: np.uint64, part: np.uint64) -> np.uint64:
    """The state after one more id of the key."""
    mixed: np.uint64 = _mix((state ^ _mix(part + _GOLDEN)) + _GOLDEN)
    return mixed


@njit_kept()
def as_uniform(state: np.uint64) -> float:
    """The state as a number in [0, 1), 53 bits."""
    return float(state >> _S11) * 2.0**-53
