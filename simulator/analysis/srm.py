"""Sample ratio mismatch: did the arms get the units they were promised?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from simulator.analysis.columns import AnalysisError

ALERT = 0.001
MIN_UNITS = 100  # below, a p-value says little and a chi-square's approximation is poor


@dataclass(frozen=True)
class Srm:
    """The check's outcome.

    status: "ok", "alert" (the results are not to be trusted), "hidden" (too few units to say) or
        "empty" (an arm that should have units has none).
    counts, expected: units by arm. p_value: chi-square; None unless "ok" or "alert".
    text: the outcome in words.
    """

    status: str
    counts: dict[str, int]
    expected: dict[str, float]
    p_value: float | None
    text: str


def check_split(counts: Mapping[str, int], split: Mapping[str, float]) -> Srm:
    """Compare units by arm with the planned split (chi-square).

    Args:
        counts: units with at least one request, by arm.
        split: planned share of each arm, summing to 1.

    Raises:
        AnalysisError: arms differ between the two, a count is negative, or shares are no split.
    """
    shares = np.array([split.get(arm, np.nan) for arm in counts], np.float64)
    if set(counts) != set(split) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-9:
        raise AnalysisError(
            f"The split is {dict(split)} for arms {list(counts)}, expected one share >= 0 per arm, "
            "summing to 1."
        )
    found = np.array(list(counts.values()), np.int64)
    if (found < 0).any():
        raise AnalysisError(f"Unit counts are {dict(counts)}, expected numbers >= 0.")
    total = int(found.sum())
    expected = dict(zip(counts, (shares * total).tolist(), strict=True))
    as_found = {arm: int(n) for arm, n in counts.items()}
    status, p_value, text = _judge(as_found, expected, found, shares, total)
    return Srm(status, as_found, expected, p_value, text)


def _judge(
    counts: dict[str, int], expected: dict[str, float], found: np.ndarray, shares: np.ndarray, total: int
) -> tuple[str, float | None, str]:
    empty = [arm for arm, share in zip(counts, shares, strict=True) if share > 0 and counts[arm] == 0]
    if empty:
        return "empty", None, f"Arm {', '.join(empty)} has no units: nothing can be compared with it."
    if total < MIN_UNITS:
        return "hidden", None, f"{total} units are too few to check the split; {MIN_UNITS} are needed."
    planned = shares > 0
    if (found[~planned] > 0).any():
        return "alert", 0.0, "An arm without a share of the traffic has units. Do not trust the results."
    if planned.sum() < 2:
        return "hidden", None, "One arm has all the traffic; there is no split to check."
    p_value = float(stats.chisquare(found[planned], shares[planned] * total).pvalue)
    if p_value < ALERT:
        return "alert", p_value, (
            f"The arms' units differ from the planned split (p = {p_value:.2g}, alert below {ALERT}). "
            "Do not trust the results before the reason is found."
        )  # fmt: skip
    return "ok", p_value, f"The arms' units agree with the planned split (p = {p_value:.2g})."
