"""A/A re-splits: one experiment's users, assigned again and again, under arms that are identical.

Whatever a metric's interval promises must hold here: 5 % of 5 % tests reject, p-values are uniform.
"""

from __future__ import annotations

import numpy as np

from simulator.analysis.columns import AnalysisError, Table, columns
from simulator.analysis.log_ratio import F8, LogRatio, log_ratio, moments_of_many
from simulator.assignment import assign
from simulator.metrics import RATIOS, Ratio

_CHUNK = 4_000_000  # users x re-splits held at once: 32 MB of weights


def resplit(
    users: Table, n: int, *, seed: int = 0, metrics: tuple[Ratio, ...] = RATIOS, cuped: bool = True
) -> dict[str, F8]:
    """p-values of `n` half-and-half re-assignments of the same users.

    Args:
        users: the users table of arms that do the same.
        n: re-assignments, each by its own salt.
        seed: of the assignments.

    Returns:
        By metric, (n,) p-values; NaN where an arm has no events to compare.

    Raises:
        AnalysisError: n < 1, or fewer than 4 users.
    """
    ids = columns(users, "user_id")["user_id"]
    if n < 1 or len(ids) < 4:
        raise AnalysisError(f"{n} re-splits of {len(ids)} users, expected at least 1 of at least 4 users.")
    parts: dict[str, list[F8]] = {metric.name: [] for metric in metrics}
    step = max(1, _CHUNK // len(ids))
    for start in range(0, n, step):
        salts = range(start, min(start + step, n))
        treated = np.stack([assign(ids, f"re-split/{i}", (0.5, 0.5), seed) == 1 for i in salts])
        for metric in metrics:
            parts[metric.name].append(lifts(users, metric, treated, cuped=cuped).p_value)
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def lifts(users: Table, metric: Ratio, treated: np.ndarray, *, cuped: bool = True) -> LogRatio:
    """The lift under many assignments at once: (..., U) bool in, `LogRatio` of shape (...) out."""
    names = [metric.top, metric.below]
    if cuped:
        names += [f"pre_{metric.top}", f"pre_{metric.below}"]
    table = columns(users, *names)
    values = np.stack([table[name].astype(np.float64) for name in names], axis=1)
    return log_ratio(moments_of_many(values, ~treated), moments_of_many(values, treated))
