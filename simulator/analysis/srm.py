"""Sample ratio mismatch: did the arms get the units they were promised?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from simulator.analysis.columns import AnalysisError

ALERT = 0.001
_SMALL = 10  # units expected in an arm below which the chi-square's approximation is poor
_DRAWS = 200_000  # splits drawn in place of all there are, with three arms or more


@dataclass(frozen=True)
class Srm:
    """The check's outcome.

    status: "ok", "alert" (the results are not to be trusted), "hidden" (one arm has all the traffic) or
        "empty" (an arm that should have units has none).
    counts, expected: units by arm. p_value: chi-square, or exact where few units are expected in an arm;
        None unless "ok" or "alert".
    text: the outcome in words.
    """

    status: str
    counts: dict[str, int]
    expected: dict[str, float]
    p_value: float | None
    text: str


def check_split(counts: Mapping[str, int], split: Mapping[str, float]) -> Srm:
    """Compare units by arm with the planned split.

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
    status, p_value, text = _judge(as_found, found, shares)
    return Srm(status, as_found, expected, p_value, text)


def _judge(counts: dict[str, int], found: np.ndarray, shares: np.ndarray) -> tuple[str, float | None, str]:
    empty = [arm for arm, share in zip(counts, shares, strict=True) if share > 0 and counts[arm] == 0]
    if empty:
        return "empty", None, f"Arm {', '.join(empty)} has no units: nothing can be compared with it."
    planned = shares > 0
    if (found[~planned] > 0).any():
        return "alert", 0.0, "An arm without a share of the traffic has units. Do not trust the results."
    if planned.sum() < 2:
        return "hidden", None, "One arm has all the traffic; there is no split to check."
    p_value = _p_value(found[planned], shares[planned] / shares[planned].sum())
    if p_value < ALERT:
        return "alert", p_value, (
            f"The arms' units differ from the planned split (p = {p_value:.2g}, alert below {ALERT}). "
            "Do not trust the results before the reason is found."
        )  # fmt: skip
    return "ok", p_value, f"The arms' units agree with the planned split (p = {p_value:.2g})."


def _p_value(found: np.ndarray, shares: np.ndarray) -> float:
    total = int(found.sum())
    expected = shares * total
    if expected.min() >= _SMALL:
        return float(stats.chisquare(found, expected).pvalue)
    if len(found) == 2:
        return float(stats.binomtest(int(found[0]), total, float(shares[0])).pvalue)
    # Exact by drawing: the split found is one more draw if the plan was kept, so its rank is uniform.
    drawn = np.random.default_rng(0).multinomial(total, shares, size=_DRAWS)
    far = ((drawn - expected) ** 2 / expected).sum(1) >= ((found - expected) ** 2 / expected).sum() * (
        1 - 1e-12
    )
    return float((1 + far.sum()) / (1 + _DRAWS))
