"""Platt calibration: logits to probabilities, one fit for each (model, history length) on a held-out log.

A model with a hotter temperature wins auctions it should not, and that looks like lift. Calibrating every arm
on the same log takes it away.

Source: Platt, Probabilistic outputs for support vector machines, 1999.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laser.errors import TrainingError

_STEPS = 50


@dataclass(frozen=True)
class Platt:
    """p = sigmoid(scale * logit + shift)."""

    scale: float = 1.0
    shift: float = 0.0

    def apply(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Probabilities of the same shape; a logit of -inf (no candidate) gives 0."""
        z = self.scale * np.asarray(logits, np.float64) + self.shift
        # Split by sign: exp of a large positive number would overflow.
        small = np.exp(-np.abs(z))
        return np.where(z >= 0, 1.0, small) / (1.0 + small)


def fit_platt(logits: ArrayLike, labels: ArrayLike) -> Platt:
    """Maximum likelihood scale and shift, by Newton's method.

    At the optimum the predicted clicks equal the observed ones on the data of the fit.

    Args:
        logits, labels: the same shape; labels 0 or 1. Logits of -inf are left out.

    Raises:
        TrainingError: the labels are all alike.
        ValueError: shapes differ, a logit is NaN, or labels are not 0 or 1.
    """
    z, y = np.asarray(logits, np.float64).ravel(), np.asarray(labels, np.float64).ravel()
    if z.shape != y.shape:
        raise ValueError(f"there are {len(z)} logits and {len(y)} labels, expected one label for each logit.")
    if np.isnan(z).any() or not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("found NaN logits or labels other than 0 and 1. Check the scores and pass clicks.")
    z, y = z[np.isfinite(z)], y[np.isfinite(z)]
    if len(y) == 0 or y.min() == y.max():
        raise TrainingError(
            f"{len(y)} labels are all alike, expected clicks and non-clicks. Calibrate on a longer log."
        )
    centre, spread = z.mean(), z.std()
    if spread == 0.0:  # The logits say nothing: the best is the click rate.
        rate = y.mean()
        return Platt(0.0, float(np.log(rate / (1.0 - rate))))
    # Standardised logits keep Newton well conditioned whatever the model's scale.
    slope, intercept = _newton((z - centre) / spread, y)
    return Platt(slope / spread, intercept - slope * centre / spread)


def _newton(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    rate = y.mean()
    theta = np.array([0.0, np.log(rate / (1.0 - rate))])
    value = _loss(theta, x, y)
    for _ in range(_STEPS):
        p = Platt(theta[0], theta[1]).apply(x)
        residual, weight = p - y, p * (1.0 - p)
        gradient = np.array([(residual * x).mean(), residual.mean()])
        cross = (weight * x).mean()
        hessian = np.array([[(weight * x * x).mean() + 1e-12, cross], [cross, weight.mean() + 1e-12]])
        step = np.linalg.solve(hessian, gradient)
        # Halve until the loss does not rise: separable labels would otherwise throw Newton far out.
        size = 1.0
        while (trial := _loss(theta - size * step, x, y)) > value and size > 1e-6:
            size /= 2.0
        theta, moved = theta - size * step, size * np.abs(step).max()
        value = trial
        if moved < 1e-10 or np.abs(theta).max() > 1e3:
            break
    return float(theta[0]), float(theta[1])


def _loss(theta: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    z = theta[0] * x + theta[1]
    return float((np.logaddexp(0.0, z) - y * z).mean())
