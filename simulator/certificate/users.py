"""Users whose true metrics are known, many experiments at once: what intervals are calibrated on.

A user has an activity and a taste, which the experiment and the pre-period share; so requests of one user
resemble each other, and CUPED has something to find.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.log_ratio import Moments
from simulator.metrics import Ratio

F8 = NDArray[np.float64]
COLUMNS = ("requests", "impressions", "clicks", "conversions", "revenue", "advv")


def draw(
    rng: np.random.Generator, shape: tuple[int, ...], lift: float = 0.0
) -> dict[str, NDArray[np.generic]]:
    """User totals of the given shape, of the experiment and ("pre_") before it.

    Args:
        rng: of all draws.
        shape: such as (experiments, users).
        lift: of the click rate, so the true lift of ctr, revenue and advv per request; cvr's is 0.
    """
    activity = rng.gamma(2.0, 6.0, shape)
    taste = np.clip(0.12 * rng.lognormal(0, 0.5, shape), 0, 0.5)
    users: dict[str, NDArray[np.generic]] = {}
    for prefix, factor in (("", 1 + lift), ("pre_", 1.0)):
        requests = 1 + rng.poisson(activity)
        impressions = rng.binomial(requests, 0.95)
        clicks = rng.binomial(impressions, taste * factor)
        conversions = rng.binomial(clicks, 0.2)
        price = rng.lognormal(-1, 0.3, shape)
        values = (requests, impressions, clicks, conversions, clicks * price, conversions * 20.0)
        users |= {prefix + name: v for name, v in zip(COLUMNS, values, strict=True)}
    return users


def true_lift(metric: Ratio, lift: float) -> float:
    """A metric's true lift where clicks have this one."""
    clicked = {"clicks", "conversions", "revenue", "advv"}
    return (1 + lift * (metric.top in clicked)) / (1 + lift * (metric.below in clicked)) - 1


def totals(users: dict[str, NDArray[np.generic]], metric: Ratio, cuped: bool = True) -> F8:
    """(..., U, P) the columns that an estimate of the metric needs."""
    names = [metric.top, metric.below]
    names += [f"pre_{name}" for name in names] if cuped else []
    return np.stack([users[name].astype(np.float64) for name in names], axis=-1)


def moments_of_each(values: F8) -> Moments:
    """Moments of (E, U, P): one experiment's arm each."""
    n, average = values.shape[1], values.mean(1)
    centred = values - average[:, None]
    return Moments(
        np.full(len(values), float(n)), average, np.einsum("eui,euj->eij", centred, centred) / (n - 1)
    )
