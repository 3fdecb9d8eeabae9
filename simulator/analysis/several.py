"""Several treatments against one control: error held over all of them.

Dunnett's intervals hold together at the level: the estimates share control, and what they share is used.
Holm's p-values need nothing but the p-values; they serve families of any kind, such as guardrails.

SciPy's `dunnett` is for raw samples of one variance; here each treatment has its own standard error and its
own degrees of freedom. With K treatments, share s_k of estimate k's variance is control's, so that two
estimates correlate as sqrt(s_j·s_k), and given control they are independent: one integral.

Sources: Dunnett, "A multiple comparison procedure for comparing several treatments with a control", JASA
1955; Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics
1979.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from simulator.analysis.columns import AnalysisError

F8 = NDArray[np.float64]
_Z, _WEIGHT = hermegauss(80)
_WEIGHT = _WEIGHT / _WEIGHT.sum()
_PARTS = 64  # quantiles of the variance's own error that stand for it


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: rejecting those below alpha errs at all with at most alpha."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in adjusted]


def dunnett_p(distances: Sequence[float], control_share: Sequence[float], df: Sequence[float]) -> list[float]:
    """P-values of the treatments, adjusted for their number.

    Args:
        distances: |estimate| / standard error of each treatment.
        control_share: the part of each estimate's variance that is control's, in [0, 1].
        df: degrees of freedom of each.

    Raises:
        AnalysisError: lengths differ, or a share is outside [0, 1].
    """
    shares = _checked(control_share, df)
    return [float(np.clip(1 - _inside(abs(c), shares, _least(df)), 0, 1)) for c in distances]


def dunnett_factor(control_share: Sequence[float], df: Sequence[float], level: float = 0.95) -> float:
    """Half-width, in standard errors, of two-sided intervals that hold together.

    Raises:
        AnalysisError: as `dunnett_p`, or the level is outside (0, 1).
    """
    shares = _checked(control_share, df)
    if not 0 < level < 1:
        raise AnalysisError(f"level is {level}, expected a number in (0, 1), such as 0.95.")
    single = float(stats.t.isf((1 - level) / 2, _least(df)))
    if len(shares) == 1:
        return single
    # Bonferroni's is never smaller.
    widest = float(stats.t.isf((1 - level) / 2 / len(shares), _least(df)))
    return float(brentq(lambda c: _inside(c, shares, _least(df)) - level, single * 0.999, widest * 1.001))


def _least(df: Sequence[float]) -> float:
    return float(min(df))


def _inside(c: float, shares: F8, df: float) -> float:
    """P(every |estimate| stays below c standard errors)."""
    # The standard error's own error: a chi over its degrees of freedom, at midpoints of equal probability.
    middle = (np.arange(_PARTS) + 0.5) / _PARTS
    scale = np.sqrt(stats.chi2.ppf(middle, df) / df)[:, None, None]
    common, own = np.sqrt(shares), np.sqrt(1 - shares)
    shift = common[None, None, :] * _Z[None, :, None]
    with np.errstate(divide="ignore"):
        upper, lower = (c * scale - shift) / own, (-c * scale - shift) / own
    each = stats.norm.cdf(upper) - stats.norm.cdf(lower)
    return float((each.prod(-1) @ _WEIGHT).mean())


def _checked(control_share: Sequence[float], df: Sequence[float]) -> F8:
    shares = np.asarray(control_share, np.float64)
    if len(shares) != len(df) or not len(shares) or not ((shares >= 0) & (shares <= 1)).all():
        raise AnalysisError(
            f"Control's shares are {list(control_share)} and degrees of freedom {list(df)}, expected one of "
            "each a treatment, shares in [0, 1]."
        )
    return np.minimum(shares, 1 - 1e-9)
