"""What a certificate is made of: rows of a simulated number, the bounds it must lie in, and the theory's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scipy import stats

#: A row's bounds hold with this probability where the claim is true: of a hundred rows less than one fails.
CONFIDENCE = 0.9999


@dataclass(frozen=True)
class Row:
    """One claim.

    name: what is measured. simulated: what came out. low, high: the bounds it must lie in, both included.
    theory: what theory, or a published source, says; None where there are only bounds. untold: why the
    simulation is too short to hold against it; empty where it is not.
    """

    name: str
    simulated: float
    low: float
    high: float
    theory: float | None = None
    untold: str = ""

    @property
    def ok(self) -> bool:
        """Whether the claim was shown to hold; neither it nor its contrary was where there is an `untold`."""
        return not self.untold and self.low <= self.simulated <= self.high

    def as_json(self) -> dict[str, Any]:
        """As `laser-ab validate --json` prints it."""
        return {
            "name": self.name,
            "simulated": self.simulated,
            "low": self.low,
            "high": self.high,
            "theory": self.theory,
            "ok": self.ok,
            "untold": self.untold or None,
        }


def digits(name: str, simulated: float, published: float, tolerance: float) -> Row:
    """A published value, met to its last digit."""
    return Row(name, simulated, published - tolerance, published + tolerance, published)


def share(name: str, hits: int, trials: int, theory: float) -> Row:
    """A probability against `trials` independent ones: bounds of the binomial around the theory's."""
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(stats.binom.ppf(q, trials, theory)) / trials for q in (tail, 1 - tail))
    return Row(name, hits / trials, low, high, theory)


def at_most(name: str, hits: int, trials: int, most: float) -> Row:
    """A probability that must not exceed `most`."""
    return Row(name, hits / trials, 0.0, float(stats.binom.ppf(CONFIDENCE, trials, most)) / trials, most)


def mean(name: str, values: Any, theory: float) -> Row:
    """A mean of independent values, within its own standard error."""
    z = float(stats.norm.isf((1 - CONFIDENCE) / 2))
    half = z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Row(name, float(values.mean()), theory - half, theory + half, theory)
