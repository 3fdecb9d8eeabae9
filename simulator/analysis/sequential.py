"""Tests that may be looked at before their end: always-valid intervals and group-sequential bounds.

An **asymptotic confidence sequence** holds at every sample size at once, so that a test may be read whenever
one likes, and stopped whenever one likes. It is tightest near a sample size of one's choice, `tuned`.

A **group-sequential** test has a fixed number of looks; its bounds on |z| share the error among them.
Pocock's bound is the same at every look, O'Brien and Fleming's falls as 1 / sqrt(look), and a spending
function fits bounds to looks at any shares of the planned sample.

Sources: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic
confidence sequences", Annals of Statistics 2024, arXiv:2103.06476; Armitage, McPherson and Rowe, "Repeated
significance tests on accumulating data", JRSS A 1969 (the recursion); Lan and DeMets, "Discrete sequential
boundaries for clinical trials", Biometrika 1983 (spending).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

from simulator.analysis.columns import AnalysisError

F8 = NDArray[np.float64]
Spending = Literal["pocock", "obrien-fleming"]
_GRID = 401  # points across the region in which a test goes on; odd, for Simpson's rule


def tightest_at(tuned: float, level: float) -> float:
    """rho: the sequence's parameter that makes it tightest at `tuned` observations.

    Raises:
        AnalysisError: tuned < 1, or level outside (0, 1).
    """
    if not tuned >= 1 or not 0 < level < 1:
        raise AnalysisError(
            f"The planned sample is {tuned} and the level {level}, expected at least 1 and a level in (0, 1)."
        )
    a = -2 * math.log(1 - level)
    return math.sqrt((a + math.log(a + 1)) / tuned)


def always_valid_factor(n: ArrayLike, tuned: float, level: float = 0.95) -> F8:
    """Half-width of the always-valid interval in standard errors of the estimate.

    Args:
        n: (...) observations that made the estimate, of all arms together.
        tuned: where the interval shall be tightest.
        level: of all intervals of the sequence at once.
    """
    rho = tightest_at(tuned, level)
    count = np.asarray(n, np.float64)
    spread = count * rho**2 + 1
    return np.asarray(np.sqrt(2 * spread / (count * rho**2) * np.log(np.sqrt(spread) / (1 - level))))


def bounds(
    looks: int | Sequence[float], level: float = 0.95, shape: Spending = "obrien-fleming"
) -> tuple[float, ...]:
    """Classical two-sided bounds on |z| at equally spaced looks.

    Args:
        looks: their number, or the shares of the planned sample at which they are taken.
        level: 1 minus the error of the whole test.
        shape: Pocock's constant bound or O'Brien and Fleming's, which hardly lets a test end early.

    Raises:
        AnalysisError: no looks, shares that do not rise, or a level outside (0, 1).
    """
    at = _shares(looks, level)
    form = np.ones(len(at)) if shape == "pocock" else np.sqrt(at[-1] / at)

    def excess(c: float) -> float:
        return crossing(at, c * form) - (1 - level)

    edge = float(stats.norm.isf((1 - level) / 2))
    return tuple((float(brentq(excess, edge * 0.9, edge * 4, xtol=1e-9)) * form).tolist())


def spending_bounds(
    looks: int | Sequence[float], level: float = 0.95, shape: Spending = "obrien-fleming"
) -> tuple[float, ...]:
    """Two-sided bounds on |z| that spend the error by a function of the share seen (Lan and DeMets).

    Args:
        looks: their number, or the shares of the planned sample in (0, 1] at which they are taken; where
            they fall may be found out as the test goes, since a bound depends on the looks before it alone.
        level, shape: as of `bounds`, which the function resembles.

    Raises:
        AnalysisError: as `bounds`; also a last share above 1.
    """
    at = _shares(looks, level)
    if at[-1] > 1 + 1e-12:
        raise AnalysisError(
            f"The last look is at {at[-1]:g} of the planned sample, expected at most 1. Plan a larger one."
        )
    spent = _SPENDING[shape](np.minimum(at, 1.0), 1 - level)
    found: list[float] = []
    inside = _START
    for k, share in enumerate(at):
        wanted, step = float(spent[k] - (spent[k - 1] if k else 0.0)), _step(at, k)

        def excess(
            c: float, inside: _Inside = inside, step: float = step, w: float = wanted, t: float = share
        ) -> float:
            return inside.leaves(step, c * math.sqrt(t)) - w

        found.append(float(brentq(excess, 0.0, 40.0, xtol=1e-9)))
        inside = inside.moved(step, found[-1] * math.sqrt(share))
    return tuple(found)


def _pocock_spending(share: F8, error: float) -> F8:
    return np.asarray(error * np.log1p((math.e - 1) * share))


def _obrien_fleming_spending(share: F8, error: float) -> F8:
    # Each side spends half of the error, by a function that spends twice a tail.
    return np.asarray(4 * stats.norm.sf(stats.norm.isf(error / 4) / np.sqrt(share)))


_SPENDING: dict[str, Callable[[F8, float], F8]] = {
    "pocock": _pocock_spending,
    "obrien-fleming": _obrien_fleming_spending,
}


def crossing(at: ArrayLike, limits: ArrayLike) -> float:
    """Probability that a test without an effect leaves its bounds at some look.

    Args:
        at: (K,) rising shares of the sample, any unit.
        limits: (K,) bounds on |z|.
    """
    share, c = np.asarray(at, np.float64), np.asarray(limits, np.float64)
    outside, inside = 0.0, _START
    for k, edge in enumerate(c * np.sqrt(share)):
        outside += inside.leaves(_step(share, k), edge)
        inside = inside.moved(_step(share, k), edge)
    return outside


@dataclass(frozen=True)
class _Inside:
    """Where the running sum of a test that is still going may be: points, and the probability at each."""

    points: F8
    mass: F8

    def leaves(self, step: float, edge: float) -> float:
        """Probability to be outside of [-edge, edge] after a normal step."""
        gone = stats.norm.sf((edge - self.points) / step) + stats.norm.cdf((-edge - self.points) / step)
        return float(self.mass @ gone)

    def moved(self, step: float, edge: float) -> _Inside:
        """Those that stay inside, after the step."""
        points = np.linspace(-edge, edge, _GRID)
        weights = np.full(_GRID, 2.0)  # Simpson's
        weights[1::2] = 4.0
        weights[[0, -1]] = 1.0
        apart = (points[:, None] - self.points[None, :]) / step
        density = np.exp(-0.5 * apart * apart) @ self.mass / (step * math.sqrt(2 * math.pi))
        return _Inside(points, density * weights * (points[1] - points[0]) / 3)


_START = _Inside(np.zeros(1), np.ones(1))


def _step(at: F8, k: int) -> float:
    """Standard deviation of the sum's step to look k."""
    return math.sqrt(float(at[k] - (at[k - 1] if k else 0.0)))


def _shares(looks: int | Sequence[float], level: float) -> F8:
    at = np.arange(1, looks + 1) / looks if isinstance(looks, int) and looks > 0 else np.atleast_1d(looks)
    at = at.astype(np.float64)
    if not len(at) or not (at > 0).all() or not (np.diff(at) > 0).all() or not 0 < level < 1:
        raise AnalysisError(
            f"Looks are {looks} and the level {level}, expected at least one look, shares above 0 that rise, "
            "and a level in (0, 1)."
        )
    return np.asarray(at, np.float64)
