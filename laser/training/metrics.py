"""Offline metrics of a ranking model. Scores may be logits or probabilities unless a function says otherwise.

Ties count one half wherever pairs are compared.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """P(a click scores above a non-click), ties one half; NaN without both.

    Args:
        scores, labels, weights: the same shape, any; labels 0 or 1, weights 0 or more.

    Raises:
        ValueError: shapes differ or a score is NaN.
    """
    s, y = _flat("scores", scores), _flat("labels", labels)
    w = np.ones_like(y) if weights is None else _flat("weights", weights)
    _same(scores=s, labels=y, weights=w)
    return _weighted_auc(s, w * y, w * (1.0 - y))


def truth_weighted_auc(scores: ArrayLike, p_true: ArrayLike) -> float:
    """AUC in which each impression is p_true of a click and 1 - p_true of a non-click.

    The expectation of `auc` over the labels' noise, up to the pairing of an impression with itself, so models
    can be distinguished with far fewer impressions.
    """
    s, p = _flat("scores", scores), _flat("p_true", p_true)
    _same(scores=s, p_true=p)
    return _weighted_auc(s, p, 1.0 - p)


def gauc(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike) -> float:
    """AUC within each group, averaged by impressions over the groups that have both labels; NaN if none has.

    Args:
        scores, labels: the same shape (N,) or (R, C).
        groups: broadcastable to it, the user (or request) of each impression.
    """
    shape = np.shape(scores)
    group = np.asarray(groups)
    if group.ndim == 1 and len(shape) == 2:
        group = group[:, None]
    s, y = _flat("scores", scores), _flat("labels", labels)
    _same(scores=s, labels=y)
    _, g = np.unique(np.broadcast_to(group, shape).ravel(), return_inverse=True)
    order = np.lexsort((s, g))
    s, y, g = s[order], y[order], g[order]
    starts_group = np.r_[True, g[1:] != g[:-1]]
    tie = np.cumsum(starts_group | np.r_[True, s[1:] != s[:-1]]) - 1
    # Mid-rank within the group, ties sharing theirs.
    within = np.arange(len(s)) - np.maximum.accumulate(np.where(starts_group, np.arange(len(s)), 0))
    rank = (np.bincount(tie, within) / np.bincount(tie))[tie] + 1.0
    size, clicks = np.bincount(g).astype(np.float64), np.bincount(g, y)
    pairs = clicks * (size - clicks)
    both = pairs > 0
    if not both.any():
        return float("nan")
    each = (np.bincount(g, rank * y)[both] - clicks[both] * (clicks[both] + 1.0) / 2.0) / pairs[both]
    return float(np.average(each, weights=size[both]))


def log_loss(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative log-likelihood in nats; probabilities are kept 1e-12 away from 0 and 1."""
    p, y = _flat("probabilities", probabilities), _flat("labels", labels)
    _same(probabilities=p, labels=y)
    _between_0_and_1(p)
    p = np.clip(p, 1e-12, 1.0 - 1e-12)
    return float(-np.mean(y * np.log(p) + (1.0 - y) * np.log1p(-p)))


def pcoc(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Predicted clicks over observed clicks; 1 is calibrated, NaN without a click."""
    p, y = _flat("probabilities", probabilities), _flat("labels", labels)
    _same(probabilities=p, labels=y)
    _between_0_and_1(p)
    return float(p.sum() / y.sum()) if y.sum() > 0 else float("nan")


def pcoc_interval(
    probabilities: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None, z: float = 1.96
) -> tuple[float, float, float]:
    """PCOC with an interval: (value, low, high), all NaN without a click, the ends NaN with one group.

    The log of a ratio of sums over groups, its error by the delta method: what a user's clicks have in common
    is no evidence twice. Where the rows were calibrated in two halves, each by the other, it is also how far
    new users of the same log may find a calibration by all rows off.

    Args:
        probabilities, labels: the same shape.
        groups: (N,), the user of each impression, flat; None: each on its own.
        z: quantile of the normal distribution; 1.96 for 95 %.
    """
    value = pcoc(probabilities, labels)
    p, y = _flat("probabilities", probabilities), _flat("labels", labels)
    group = np.arange(len(p)) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    _same(probabilities=p, groups=group.astype(np.float64))
    count = int(group.max()) + 1 if len(group) else 0
    if math.isnan(value) or value == 0.0 or count < 2:
        return value, math.nan, math.nan
    off = np.bincount(group, p - value * y)
    error = math.sqrt(float(np.square(off).sum()) * count / (count - 1)) / float(p.sum())
    return value, value * math.exp(-z * error), value * math.exp(z * error)


def _weighted_auc(scores: Floats, positive: Floats, negative: Floats) -> float:
    order = np.argsort(scores, kind="stable")
    s = scores[order]
    tie = np.cumsum(np.r_[True, s[1:] != s[:-1]]) - 1 if len(s) else np.zeros(0, np.int64)
    up, down = np.bincount(tie, positive[order]), np.bincount(tie, negative[order])
    pairs = up.sum() * down.sum()
    if not pairs > 0:
        return float("nan")
    below = np.cumsum(down) - down
    return float((up * (below + 0.5 * down)).sum() / pairs)


def _flat(name: str, values: ArrayLike) -> Floats:
    array: NDArray[Any] = np.asarray(values, np.float64).ravel()
    if np.isnan(array).any():
        raise ValueError(f"{name} holds NaN, expected numbers. Find the model or column that made it.")
    return array


def _same(**arrays: Floats) -> None:
    if len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise ValueError(f"sizes differ: {sizes}. Expected one entry for each impression in all of them.")


def _between_0_and_1(p: Floats) -> None:
    if len(p) and not (p.min() >= 0.0 and p.max() <= 1.0):
        raise ValueError(
            f"probabilities span {p.min()} to {p.max()}, expected [0, 1]. Calibrate logits first."
        )
