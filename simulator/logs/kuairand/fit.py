"""Fitting the response of a log's world: a regularised logistic regression of its clicks and long views.

L-BFGS on the penalised log loss. Each table's effects have a normal prior around 0, which pulls rare ids
to the mean; features are free but for a weak prior. See `simulator.world.fitted` for the formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from laser.training.metrics import auc, log_loss, pcoc
from simulator.logs.real_log import RealLog
from simulator.traffic.behaviours import CLICK
from simulator.world.fitted import FEATURES, TABLES, FittedLogit, FittedResponse

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

#: Prior standard deviations, logits. On the last day of KuaiRand-Pure (log loss 0.597 for clicks, 0.580 for
#: conversions) halving them all cost 0.003 and 0.005, doubling them 0.001 and 0.002.
PRIOR_SD = {"video": 0.4, "author": 0.2, "category": 0.3, "scene": 1.0, "hour": 0.2}
FEATURE_SD = 3.0
_MOST_STEPS = 300


@dataclass(frozen=True)
class Design:
    """What the regression reads, one row per impression (N,): ids by table, features (N, F)."""

    ids: dict[str, I8]
    sizes: dict[str, int]
    features: F8

    def take(self, rows: NDArray[Any]) -> Design:
        """Some rows only."""
        return Design({n: c[rows] for n, c in self.ids.items()}, self.sizes, self.features[rows])


def fit_response(
    log: RealLog, on_progress: Callable[[str, int, int], None] | None = None
) -> tuple[FittedResponse, dict[str, Any]]:
    """Fit clicks and conversions on the whole log, and say how well it went.

    Returns:
        The response, and its quality by outcome: "in_sample" on the rows it was fitted on, "last_day" on
        the log's last day by a twin fitted on the days before; AUC, log loss (nats) and PCOC each.
    """
    design, shown = design_of(log), log.impressions
    last = shown.day == shown.day[-1]
    clicked = shown.click == 1
    everything = np.ones(len(shown), np.bool_)
    fitted: dict[str, FittedLogit] = {}
    quality: dict[str, Any] = {}
    for number, (name, label, rows) in enumerate(
        (("click", shown.click, everything), ("conversion", shown.conversion, clicked))
    ):
        if on_progress is not None:
            on_progress("fit response", number, 2)
        fitted[name] = _fit(design.take(rows), label[rows])
        before, after = rows & ~last, rows & last
        twin = _fit(design.take(before), label[before])
        quality[name] = {
            "in_sample": _quality(fitted[name], design.take(rows), label[rows]),
            "last_day": _quality(twin, design.take(after), label[after]),
        }
    if on_progress is not None:
        on_progress("fit response", 2, 2)
    return FittedResponse(fitted["click"], fitted["conversion"]), quality


def design_of(log: RealLog) -> Design:
    """The impressions as rows of the regression; counts are running ones, so that long logs stay cheap."""
    shown, ads = log.impressions, log.ads
    second = np.floor(shown.time_s).astype(np.int64)
    category = ads.category[shown.ad].astype(np.int64)
    clicked = (shown.action >= CLICK).astype(np.int64)
    user = np.unique(shown.user_id, return_inverse=True)[1].astype(np.int64)
    both = user * log.categories + category
    behaviours = _earlier(user, second, np.ones_like(clicked))
    clicks = _earlier(both, second, clicked)
    skips = _earlier(both, second, 1 - clicked)
    features = np.stack(
        [shown.propensity.astype(np.float64), *(np.log1p(n) for n in (behaviours, clicks, skips))], axis=1
    )
    ids = {
        "video": shown.ad.astype(np.int64),
        "author": ads.author[shown.ad],
        "category": category,
        "scene": shown.scene.astype(np.int64),
        "hour": np.floor(shown.hour).astype(np.int64),
    }
    sizes = {
        "video": len(ads.item_id),
        "author": int(ads.author.max()) + 1,
        "category": log.categories,
        "scene": log.scenes,
        "hour": 24,
    }
    return Design(ids, sizes, features)


def _earlier(group: I8, second: I8, value: I8) -> I8:
    """(N,) sum of `value` over the rows of the same group in earlier seconds."""
    order = np.lexsort((second, group))
    ordered_group, ordered_second = group[order], second[order]
    running = np.concatenate([[0], np.cumsum(value[order])])
    new_group = np.ones(len(order), np.bool_)
    new_group[1:] = ordered_group[1:] != ordered_group[:-1]
    new_second = new_group.copy()
    new_second[1:] |= ordered_second[1:] != ordered_second[:-1]
    at = np.arange(len(order))
    first_of_second = np.maximum.accumulate(np.where(new_second, at, 0))
    first_of_group = np.maximum.accumulate(np.where(new_group, at, 0))
    total = np.empty(len(order), np.int64)
    total[order] = running[first_of_second] - running[first_of_group]
    return total


def _fit(design: Design, label: NDArray[Any]) -> FittedLogit:
    y = label.astype(np.float64)
    # Features are centred and scaled for L-BFGS; the weights are turned back below.
    mean, scale = design.features.mean(axis=0), design.features.std(axis=0) + 1e-9
    x = ((design.features - mean) / scale).T.copy()
    edges = np.cumsum([1 + len(FEATURES), *(design.sizes[name] for name in TABLES)])
    penalty = np.concatenate(
        [
            [0.0],
            np.full(len(FEATURES), FEATURE_SD**-2.0),
            *(np.full(design.sizes[name], PRIOR_SD[name] ** -2.0) for name in TABLES),
        ]
    )
    columns = list(zip(TABLES, edges[:-1], edges[1:], strict=True))

    def loss(theta: F8) -> tuple[float, F8]:
        logit = np.full(len(y), theta[0])
        for weight, column in zip(theta[1 : edges[0]], x, strict=True):
            logit += weight * column
        for name, low, high in columns:
            logit += theta[low:high][design.ids[name]]
        # log(1 + exp(-z)) without overflow; z > 0 where the label is likely.
        value = np.logaddexp(0.0, logit).sum() - (y * logit).sum() + 0.5 * (penalty * theta**2).sum()
        residual = 1.0 / (1.0 + np.exp(-logit)) - y
        slope = np.empty_like(theta)
        slope[0] = residual.sum()
        slope[1 : edges[0]] = [(residual * column).sum() for column in x]
        for name, low, high in columns:
            slope[low:high] = np.bincount(design.ids[name], residual, high - low)
        return float(value), slope + penalty * theta

    rate = (y.sum() + 0.5) / (len(y) + 1.0)
    seen = [np.bincount(design.ids[name], minlength=design.sizes[name]) for name in TABLES]
    # Each coordinate in units of its own curvature: frequent and rare ids then converge together.
    rows = np.concatenate([np.full(1 + len(FEATURES), len(y)), *seen])
    unit = 1.0 / np.sqrt(penalty + rate * (1.0 - rate) * rows + 1e-12)

    def in_units(z: F8) -> tuple[float, F8]:
        value, slope = loss(z * unit)
        return value, slope * unit

    start = np.zeros(len(unit))
    start[0] = np.log(rate / (1.0 - rate)) / unit[0]
    found = unit * minimize(in_units, start, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_STEPS}).x
    weights = found[1 : edges[0]] / scale
    return FittedLogit(
        bias=float(found[0] - (weights * mean).sum()),
        weights=weights,
        tables={name: found[low:high] for name, low, high in columns},
    )


def _quality(fitted: FittedLogit, design: Design, label: NDArray[Any]) -> dict[str, float | None]:
    """AUC, log loss and PCOC; None where the rows hold one outcome only."""
    if len(label) == 0 or label.min() == label.max():
        return {"auc": None, "log_loss": None, "pcoc": None, "rows": len(label)}
    p = fitted(design.ids, design.features)
    return {"auc": auc(p, label), "log_loss": log_loss(p, label), "pcoc": pcoc(p, label), "rows": len(label)}
