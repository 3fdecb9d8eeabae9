"""Gaps between models on real exposures, with two intervals: over training seeds, and over users.

Seeds say how far a training's luck moves the gap on these very exposures; users say how far another draw of
users would. Neither holds the other, so both are reported.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

F8 = NDArray[np.float64]
LEVEL = 0.95
DRAWS = 1000
_AT_ONCE = 100  # draws whose weights are in memory together


def seed_interval(values: list[float]) -> tuple[float, float] | None:
    """Student's interval of a mean over seeds; None for a single seed."""
    if len(values) < 2:
        return None
    half = stats.t.ppf(0.5 + LEVEL / 2, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return float(np.mean(values) - half), float(np.mean(values) + half)


def auc_of_draws(scores: F8, labels: NDArray[Any], weights: NDArray[Any]) -> F8:
    """AUC (draws,) of one model's scores (N,) under many weightings (draws, N) of the exposures."""
    order = np.argsort(scores, kind="stable")
    s, w = scores[order], weights[:, order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, s[1:] != s[:-1]])
    clicked = labels[order] == 1
    up = np.add.reduceat(w * clicked, starts, axis=1)
    down = np.add.reduceat(w * ~clicked, starts, axis=1)
    below = np.cumsum(down, axis=1) - down
    areas: F8 = (up * (below + 0.5 * down)).sum(axis=1) / (up.sum(axis=1) * down.sum(axis=1))
    return areas


def user_draws(scores: dict[Any, F8], labels: NDArray[Any], users: NDArray[Any], seed: int) -> dict[Any, F8]:
    """AUC (DRAWS,) of every model under the same redrawn users, with all their exposures.

    Args:
        scores: (N,) each, by any name.
        labels, users: (N,) of the exposures.
        seed: draws the users.
    """
    names, user = np.unique(users, return_inverse=True)
    generator = np.random.default_rng(seed)
    parts: dict[Any, list[F8]] = {name: [] for name in scores}
    for _ in range(0, DRAWS, _AT_ONCE):
        times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), _AT_ONCE)
        weights = times.astype(np.float32)[:, user]
        for name, values in scores.items():
            parts[name].append(auc_of_draws(values, labels, weights))
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def user_shares(scores: NDArray[Any], labels: NDArray[Any], users: NDArray[Any]) -> F8:
    """(U,) how far each user's exposures move the AUC, users ascending; the shares sum to 0.

    The AUC is a mean over pairs of a click and a skip; a user's share is what its clicks and its skips win
    above that mean, over all clicks and all skips. Shares of two models on the same exposures may be
    subtracted, so `share_error` of the difference is the paired one.

    Source: Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53 (1997).

    Args:
        scores, labels, users: (N,) of the exposures.
    """
    names, user = np.unique(users, return_inverse=True)
    _, rank = np.unique(scores, return_inverse=True)
    clicked = labels == 1
    up, down = (np.bincount(rank, part, int(rank.max()) + 1) for part in (clicked, ~clicked))
    skips_below, clicks_below = np.cumsum(down) - 0.5 * down, np.cumsum(up) - 0.5 * up
    clicks, skips = up.sum(), down.sum()
    won = np.where(clicked, skips_below[rank] / skips, 1.0 - clicks_below[rank] / clicks)
    mean = float(won[clicked].mean())
    share: F8 = (won - mean) / np.where(clicked, clicks, skips)
    of_users: F8 = np.bincount(user, share, len(names)).astype(np.float64)
    return of_users


def share_error(shares: F8) -> float:
    """The standard error over users that (U,) shares, or differences of them, stand for."""
    return float(np.sqrt(len(shares) / (len(shares) - 1) * np.square(shares).sum()))


def user_interval(draws: F8) -> tuple[float, float]:
    """The middle LEVEL of the draws."""
    low, high = np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def gap_row(one: str, other: str, aucs: dict[tuple[str, int], float], draws: dict[Any, F8]) -> dict[str, Any]:
    """The paired gap of two models in points of AUC, mean over the training seeds that both have."""
    seeds = sorted(seed for name, seed in aucs if name == one and (other, seed) in aucs)
    each = [100 * (aucs[one, seed] - aucs[other, seed]) for seed in seeds]
    redrawn = 100 * np.mean([draws[one, seed] - draws[other, seed] for seed in seeds], axis=0)
    over_seeds, over_users = seed_interval(each), user_interval(redrawn)
    return {
        "gap": f"{one} - {other}",
        "pt": float(np.mean(each)),
        "seeds": len(seeds),
        "over_seeds": over_seeds,
        "over_users": over_users,
    }
