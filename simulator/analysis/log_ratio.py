"""Log-ratio inference for ratios of user totals, in closed form over moments.

Letters: P columns, ordered numerator, denominator, then covariates' numerators and denominators in
pairs; K covariates, P = 2 + 2K; leading axes, if any, are replications analysed at once.

An arm's metric is sum(y) / sum(x) over its users. Linearised at the arm's means, a user contributes
(y - R·x) / mean(x): the delta method clustered by user. A covariate, linearised alike, is regressed
out with one coefficient for both arms (CUPED). The lift's interval is built on the logarithm of the
ratio of the arms' values, which keeps its coverage where the difference over the control does not.

tea-tasting's `RatioOfMeans` gives the same values and interval (tests compare them); it returns
no standard error on the log scale, takes one covariate and one experiment per call, while re-splits
and coverage checks analyse thousands.

Sources: Deng, Knoblich and Lu, "Applying the delta method in metric analytics", KDD 2018,
arXiv:1803.06336; Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online controlled
experiments by utilizing pre-experiment data" (CUPED), WSDM 2013.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

F8 = NDArray[np.float64]
_LARGEST_LOG = math.log(sys.float_info.max)


@dataclass(frozen=True)
class Moments:
    """Of one arm's users: count (...), mean (..., P), and cov (..., P, P) with n - 1."""

    count: F8
    mean: F8
    cov: F8

    def __add__(self, other: Moments) -> Moments:
        """The moments of both arms' users together."""
        n, m = self.count[..., None], other.count[..., None]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (n * self.mean + m * other.mean) / (n + m)
            gap = self.mean - other.mean
            n, m = n[..., None], m[..., None]
            squares = (n - 1) * self.cov + (m - 1) * other.cov
            squares = squares + n * m / (n + m) * gap[..., :, None] * gap[..., None, :]
            cov = squares / (n + m - 1)
        return Moments(self.count + other.count, mean, cov)


@dataclass(frozen=True)
class LogRatio:
    """Arm values and the lift, each of the moments' leading shape; NaN where undefined.

    control, treatment: the arms' values, covariate-adjusted.
    se_log: standard error of log(treatment / control).
    df: degrees of freedom of its t distribution (Welch).
    variance_reduction: 1 - se_log² with covariates over se_log² without.
    theta: (..., K) the covariates' coefficients, on the values' scale; 0 for one that was left out.
    share: of the arms in se_log², control's: what two treatments of one control have in common.
    difference: treatment - control, defined for values of any sign; se_difference and df_difference: its
        standard error and degrees of freedom (Welch).
    """

    control: F8
    treatment: F8
    se_log: F8
    df: F8
    variance_reduction: F8
    theta: F8
    share: F8
    difference: F8
    se_difference: F8
    df_difference: F8

    @property
    def lift(self) -> F8:
        """treatment / control - 1."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.treatment / self.control - 1)

    def interval(self, level: float) -> tuple[F8, F8]:
        """Two-sided interval of the lift."""
        with np.errstate(over="ignore"):  # an error beyond all numbers: from -1 to infinity
            half = np.exp(stats.t.ppf((1 + level) / 2, self.df) * self.se_log)
            ratio = 1 + self.lift
            return np.asarray(ratio / half - 1), np.asarray(ratio * half - 1)

    def difference_interval(self, level: float) -> tuple[F8, F8]:
        """Two-sided interval of the difference."""
        half = stats.t.ppf((1 + level) / 2, self.df_difference) * self.se_difference
        return np.asarray(self.difference - half), np.asarray(self.difference + half)

    @property
    def difference_p_value(self) -> F8:
        """Two-sided, of no difference."""
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = np.abs(self.difference) / self.se_difference
        return np.asarray(2 * stats.t.sf(distance, self.df_difference))

    @property
    def p_value(self) -> F8:
        """Two-sided, of no lift; below 1 - level exactly where the interval leaves out 0."""
        with np.errstate(invalid="ignore", divide="ignore"):  # an arm of zeros has no logarithm: NaN
            distance = np.abs(np.log(self.treatment / self.control)) / self.se_log
        return np.asarray(2 * stats.t.sf(distance, self.df))


def lift_of(log: float) -> float:
    """The lift whose logarithm, of the ratio, it is; infinite where that is beyond all numbers."""
    return math.expm1(log) if log < _LARGEST_LOG else math.inf


def log_of(lift: float) -> float:
    """The logarithm of the ratio; minus infinity for a lift of -1."""
    return math.log1p(lift) if lift > -1 else -math.inf


def moments(values: F8) -> Moments:
    """Moments of one arm's users.

    Args:
        values: (n, P) one row per user, n >= 2.
    """
    return Moments(
        np.asarray(float(len(values))), values.mean(0), np.atleast_2d(np.cov(values, rowvar=False))
    )


def moments_of_many(users: F8, member: NDArray[np.bool_]) -> Moments:
    """Moments of one arm under many assignments at once.

    Args:
        users: (n, P) columns.
        member: (..., n) who belongs to the arm.
    """
    # Centred first: sums of squares of raw money lose digits.
    centre = users.mean(0)
    x = users - centre
    weight = member.astype(np.float64)
    count = weight.sum(-1)
    p = x.shape[1]
    pairs = (x[:, :, None] * x[:, None, :]).reshape(len(x), p * p)
    mean = weight @ x / count[..., None]
    second = (weight @ pairs).reshape(*count.shape, p, p)
    outer = mean[..., :, None] * mean[..., None, :] * count[..., None, None]
    # The mean of raw values: an arm without events must have exactly 0.
    raw = weight @ users / count[..., None]
    return Moments(count, raw, (second - outer) / (count[..., None, None] - 1))


def log_ratio(control: Moments, treatment: Moments) -> LogRatio:
    """The lift of a ratio metric with K >= 0 covariates, all with moments of the same P columns.

    A covariate that is constant, or whose denominator is empty, is left out (coefficient 0); all are
    where an adjusted value would not be positive, as few users can make it. An arm whose numerator
    or denominator is empty gives NaN.
    """
    both = (control, treatment)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = control + treatment
        centre = _ratios(total.mean)[..., 1:]
        theta = _theta(_linear_cov(total))
        crossed = ~np.logical_and(*(_adjusted(arm, theta, centre)[0] > 0 for arm in both))
        theta = np.where(crossed[..., None], 0.0, theta)
        values, variances = zip(*(_of_arm(arm, theta, centre) for arm in both), strict=True)
        positive = [
            np.where((arm.mean[..., :2] > 0).all(-1), v, np.nan) for arm, v in zip(both, values, strict=True)
        ]
        parts = _relative(positive, variances)
        before = _relative(*zip(*(_of_arm(arm, np.zeros_like(theta), centre) for arm in both), strict=True))
        variance, apart = sum(parts), sum(variances)
        return LogRatio(
            control=positive[0],
            treatment=positive[1],
            se_log=np.sqrt(variance),
            df=_welch(parts, both),
            variance_reduction=np.asarray(1 - variance / sum(before)),
            theta=theta,
            share=parts[0] / variance,
            difference=values[1] - values[0],
            se_difference=np.sqrt(apart),
            df_difference=_welch(variances, both),
        )


def _of_arm(arm: Moments, theta: F8, centre: F8) -> tuple[F8, F8]:
    """The arm's value and the variance of it."""
    value, variance = _adjusted(arm, theta, centre)
    return value, np.asarray(variance / arm.count)


def _relative(values: Sequence[F8], variances: Sequence[F8]) -> list[F8]:
    """The variances of the values' logarithms."""
    return [np.asarray(own / value**2) for value, own in zip(values, variances, strict=True)]


def _welch(parts: Sequence[F8], arms: Sequence[Moments]) -> F8:
    """Degrees of freedom of a sum of the arms' variances."""
    total = sum(parts)
    # Shares of the sum, for squares of variances leave the floating-point range before variances do.
    weights = sum((part / total) ** 2 / (arm.count - 1) for part, arm in zip(parts, arms, strict=True))
    return np.asarray(1 / weights)


def _ratios(mean: F8) -> F8:
    """(..., 1 + K): the metric, then the covariates."""
    return np.asarray(mean[..., 0::2] / mean[..., 1::2])


def _linear_cov(arm: Moments) -> F8:
    """Covariance of the linearised metric and covariates, (..., 1 + K, 1 + K)."""
    ratio, base = _ratios(arm.mean), arm.mean[..., 1::2]
    c = arm.cov
    yy, yx, xx = c[..., 0::2, 0::2], c[..., 0::2, 1::2], c[..., 1::2, 1::2]
    r, s = ratio[..., :, None], ratio[..., None, :]
    xy = np.swapaxes(yx, -1, -2)
    return np.asarray((yy - s * yx - r * xy + r * s * xx) / (base[..., :, None] * base[..., None, :]))


def _theta(cov: F8) -> F8:
    """Regression coefficients of the metric on the covariates, (..., K); 0 for a useless covariate."""
    k = cov.shape[-1] - 1
    if k == 0:
        return np.zeros(cov.shape[:-1])[..., 1:]
    own, cross = cov[..., 1:, 1:].copy(), cov[..., 1:, 0].copy()
    diagonal = np.diagonal(own, axis1=-2, axis2=-1)
    useless = ~(np.isfinite(diagonal) & (diagonal > 0))
    # An identity row and column: the coefficient comes out 0 and the others do not notice.
    own = np.where(useless[..., :, None] | useless[..., None, :], np.eye(k), own)
    cross = np.where(useless, 0.0, cross)
    # Equal covariates make the matrix singular; pinv shares the coefficient between them.
    return np.asarray(np.einsum("...ij,...j->...i", np.linalg.pinv(own, hermitian=True), cross))


def _adjusted(arm: Moments, theta: F8, centre: F8) -> tuple[F8, F8]:
    """The arm's adjusted value and the variance of a user's linearised contribution."""
    ratios, cov = _ratios(arm.mean), _linear_cov(arm)
    shift = theta * (ratios[..., 1:] - centre)
    value = ratios[..., 0] - np.where(theta == 0, 0.0, shift).sum(-1)
    weights: Any = np.concatenate([np.ones((*theta.shape[:-1], 1)), -theta], axis=-1)
    used = weights[..., :, None] * weights[..., None, :]
    variance = np.where(used == 0, 0.0, used * cov).sum((-1, -2))
    return np.asarray(value), np.asarray(variance)
