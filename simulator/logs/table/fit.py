"""Fitting the response of a log's world: a regularised logistic regression of its clicks and long views.

L-BFGS on the penalised log loss. Each table's effects have a normal prior around 0, which pulls rare ids
to the mean; features are free but for a weak prior. See `simulator.world.fitted` for the formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from laser.training.metrics import auc, log_loss, pcoc
from simulator.draws import uniform
from simulator.logs.real_log import Impressions, LogRows
from simulator.logs.table.strays import last_whole
from simulator.scratch import slices_of
from simulator.traffic.behaviours import CLICK
from simulator.world.fitted import FEATURES, FittedLogit, FittedResponse

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

#: Prior standard deviations, logits. On the last day of KuaiRand-Pure (log loss 0.597 for clicks, 0.580 for
#: conversions) halving them all cost 0.003 and 0.005, doubling them 0.001 and 0.002.
PRIOR_SD = {"video": 0.4, "author": 0.2, "category": 0.3, "scene": 1.0, "hour": 0.2, "position": 1.0}
FEATURE_SD = 3.0
_MOST_STEPS = 300
#: Impressions that are fitted at most; of a longer log a sample of its requests. A million leave a standard
#: error of .002 of a rate of .05 in an ad shown at 1 % of them.
FIT_ROWS = 1_000_000
_AT_ONCE = 1 << 20
_FIT_SEED = 0  # fixed: the truth belongs to the log, not to a run


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
    log: LogRows, on_progress: Callable[[str, int, int], None] | None = None
) -> tuple[FittedResponse, dict[str, Any]]:
    """Fit clicks and conversions on the whole log, and say how well it went.

    Returns:
        The response, and its quality by outcome: "in_sample" on the rows it was fitted on, "last_day" on
        the log's last whole day by a twin fitted on the days before; AUC, log loss (nats), PCOC, rows.
    """
    shown = fitted_impressions(log)
    design = design_of(log, shown)
    day = shown.day
    whole = last_whole(np.bincount(day))  # of a few rows, its figures would be luck
    clicked = shown.click == 1
    everything = np.ones(len(shown), np.bool_)
    fitted: dict[str, FittedLogit] = {}
    quality: dict[str, Any] = {}
    for number, (name, label, some) in enumerate(
        (("click", shown.click, everything), ("conversion", shown.conversion, clicked))
    ):
        if on_progress is not None:
            on_progress("fit response", number, 2)
        fitted[name] = fit_logit(design.take(some), label[some])
        before, after = some & (day < whole), some & (day == whole)
        twin = fit_logit(design.take(before), label[before])
        quality[name] = {
            "in_sample": quality_of(fitted[name], design.take(some), label[some]),
            "last_day": quality_of(twin, design.take(after), label[after]),
        }
    if on_progress is not None:
        on_progress("fit response", 2, 2)
    return FittedResponse(fitted["click"], fitted["conversion"]), quality


def fitted_impressions(log: LogRows) -> Impressions:
    """The impressions that are fitted: all, or those of a sample of requests, about FIT_ROWS."""
    shown = log.impressions
    share = FIT_ROWS / len(shown)
    rows = [
        part.start + np.flatnonzero(uniform(_FIT_SEED, "fit", shown.request_id[part]) < share)
        for part in slices_of(len(shown), _AT_ONCE, shown.request_id)
    ]
    return shown.take(np.arange(len(shown)) if share >= 1 else np.concatenate(rows))


def design_of(log: LogRows, shown: Impressions | None = None) -> Design:
    """Impressions as rows of the regression, all by default; only earlier seconds count."""
    shown, ads = log.impressions if shown is None else shown, log.ads
    category = ads.category[shown.ad].astype(np.int64)
    features = _features(log, shown, category)
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
    if shown.position is not None:
        ids["position"], sizes["position"] = shown.position.astype(np.int64), log.positions
    return Design(ids, sizes, features)


def _features(log: LogRows, shown: Impressions, category: I8) -> F8:
    """(N, F) of FEATURES, by one search for all rows: a twin of `world.fitted.request_features`."""
    did, categories = log.behaviours, log.categories
    user = np.searchsorted(did.users, shown.user_id)
    second = np.floor(shown.time_s).astype(np.int64)
    found = np.empty((len(shown), len(FEATURES)))
    found[:, 0] = shown.propensity
    order = np.argsort(user, kind="stable")
    # Users in groups of about _AT_ONCE behaviours, so that memory holds what one group needs.
    edges = np.searchsorted(did.offsets, np.arange(0, len(did), _AT_ONCE))
    for low, high in pairwise(np.unique([0, *edges, len(did.users)]).tolist()):
        rows = order[slice(*np.searchsorted(user, (low, high), sorter=order))]
        own = slice(did.offsets[low], did.offsets[high])
        owner = np.repeat(np.arange(low, high), np.diff(did.offsets[low : high + 1]))
        of = owner * categories + did.category[own].astype(np.int64)
        asked = user[rows] * categories + category[rows]
        clicked, time_s = did.action[own] >= CLICK, did.time_s[own]
        counts = (
            _earlier(owner, time_s, user[rows], second[rows]),
            _earlier(of[clicked], time_s[clicked], asked, second[rows]),
            _earlier(of[~clicked], time_s[~clicked], asked, second[rows]),
        )
        found[rows, 1:] = np.log1p(np.stack(counts, axis=1))
        did.let_go()
    return found


def _earlier(group: I8, second: I8, asked_group: I8, asked_second: I8) -> I8:
    """(N,) how many events of each asked group come in seconds before the asked one."""
    if len(group) == 0 or len(asked_group) == 0:
        return np.zeros(len(asked_group), np.int64)
    # One ascending key for (group, second): groups of events numbered, so that keys stay small.
    groups, of = np.unique(group, return_inverse=True)
    low = min(int(second.min()), int(asked_second.min()))
    span = max(int(second.max()), int(asked_second.max())) - low + 2
    key = np.sort(of * span + (second - low))
    at = np.minimum(np.searchsorted(groups, asked_group), len(groups) - 1)
    known = groups[at] == asked_group
    begin = np.searchsorted(key, at * span)
    end = np.searchsorted(key, at * span + (asked_second - low))
    return np.where(known, end - begin, 0).astype(np.int64)


def fit_logit(design: Design, label: NDArray[Any]) -> FittedLogit:
    """The mode of the regression of a label (N,), 0 or 1; of no rows at all that of the priors.

    The same bits whatever the number of threads.
    """
    y = label.astype(np.float64)
    tables = tuple(design.ids)
    if len(y) == 0:
        effects = {name: np.zeros(design.sizes[name]) for name in tables}
        return FittedLogit(0.0, np.zeros(len(FEATURES)), effects)
    # Features are centred and scaled for L-BFGS; the weights are turned back below.
    mean, scale = design.features.mean(axis=0), design.features.std(axis=0) + 1e-9
    x = ((design.features - mean) / scale).T.copy()
    edges = np.cumsum([1 + len(FEATURES), *(design.sizes[name] for name in tables)])
    penalty = np.concatenate(
        [
            [0.0],
            np.full(len(FEATURES), FEATURE_SD**-2.0),
            *(np.full(design.sizes[name], PRIOR_SD[name] ** -2.0) for name in tables),
        ]
    )
    columns = list(zip(tables, edges[:-1], edges[1:], strict=True))
    rate = (y.sum() + 0.5) / (len(y) + 1.0)
    seen = [np.bincount(design.ids[name], minlength=design.sizes[name]) for name in tables]
    # Each coordinate in units of its own curvature: frequent and rare ids then converge together.
    rows = np.concatenate([np.full(1 + len(FEATURES), len(y)), *seen])
    unit = 1.0 / np.sqrt(penalty + rate * (1.0 - rate) * rows + 1e-12)

    def in_units(z: F8) -> tuple[float, F8]:
        value, slope = _loss(z * unit, y, x, design.ids, columns, penalty)
        return value, slope * unit

    start = np.zeros(len(unit))
    start[0] = np.log(rate / (1.0 - rate)) / unit[0]
    # Of several threads BLAS adds long vectors in parts, so that the last bits depended on their number.
    with threadpool_limits(1):
        best = minimize(in_units, start, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_STEPS})
    found = unit * best.x
    weights = found[1 : edges[0]] / scale
    return FittedLogit(
        bias=float(found[0] - (weights * mean).sum()),
        weights=weights,
        tables={name: found[low:high] for name, low, high in columns},
    )


def _loss(
    theta: F8, y: F8, x: F8, ids: Mapping[str, I8], columns: Sequence[tuple[str, int, int]], penalty: F8
) -> tuple[float, F8]:
    """The penalised log loss of outcomes y (N,), in nats, and its slope.

    Args:
        theta: a bias, the weights of the F features, and the effects of each table.
        y: 0 or 1.
        x: (F, N) features.
        ids: by table, (N,).
        columns: each table's name, and where its effects begin and end.
        penalty: of each parameter.
    """
    logit = np.full(len(y), theta[0])
    for weight, column in zip(theta[1 : 1 + len(x)], x, strict=True):
        logit += weight * column
    for name, low, high in columns:
        logit += theta[low:high][ids[name]]
    # log(1 + exp(-z)) without overflow; z > 0 where the label is likely.
    value = np.logaddexp(0.0, logit).sum() - (y * logit).sum() + 0.5 * (penalty * theta**2).sum()
    residual = 1.0 / (1.0 + np.exp(-logit)) - y
    slope = np.empty_like(theta)
    slope[0] = residual.sum()
    slope[1 : 1 + len(x)] = [(residual * column).sum() for column in x]
    for name, low, high in columns:
        slope[low:high] = np.bincount(ids[name], residual, high - low)
    return float(value), slope + penalty * theta


def quality_of(fitted: FittedLogit, design: Design, label: NDArray[Any]) -> dict[str, float | None]:
    """AUC, log loss and PCOC; None where the rows hold one outcome only."""
    if len(label) == 0 or label.min() == label.max():
        return {"auc": None, "log_loss": None, "pcoc": None, "rows": len(label)}
    p = fitted(design.ids, design.features)
    return {"auc": auc(p, label), "log_loss": log_loss(p, label), "pcoc": pcoc(p, label), "rows": len(label)}
