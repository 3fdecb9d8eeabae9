"""What another log's policy would have been worth on this log's traffic: `policy_value`.

A log that recorded with what probability each ad was shown can judge a policy that never ran on it. Whether
it judges well is seen where that policy did run, and was logged itself. Letters: N impressions, A items.

The other policy is taken as the shares in which its log shows items at each position: its average over
users and time, which is exact for policies that look at neither, as Open Bandit's.

Sources: Horvitz and Thompson, 1952 (IPS); Swaminathan and Joachims, "The self-normalized estimator for
counterfactual learning", NeurIPS 2015 (SNIPS); Dudík, Langford and Li, "Doubly robust policy evaluation and
learning", ICML 2011 (DR); Li, Chu, Langford and Wang, "Unbiased offline evaluation", WSDM 2011 (replay).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from simulator.draws import uniform
from simulator.logs.folder import NAMES_SCHEMA, read_log
from simulator.logs.real_log import RealLog
from simulator.traffic.files import read_table
from simulator.traffic.trace import TraceError

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

_SEED = 0  # fixed: the estimate belongs to the logs
#: Impressions' worth of the mean in click rates of DR's model; any number leaves DR unbiased.
_PRIOR_ROWS = 50.0
METHODS = {
    "ips": "inverse propensity",
    "snips": "inverse propensity, self-normalised",
    "dr": "doubly robust",
    "replay": "replay: the impressions that the other policy would have shown too",
}


@dataclass(frozen=True)
class Shown:
    """Impressions as the estimators read them, (N,) each."""

    item: I8  #: rows of the items of both logs
    position: I8  #: from 0; all 0 where the log records none
    click: F8
    propensity: F8  #: of the log's own policy, that this item was shown there
    request: NDArray[np.uint64]  #: impressions of one request count as one observation


def policy_value(folder: Path, other: Path, level: float = 0.95) -> dict[str, Any]:
    """The click rate that the other log's policy would have had on this log's traffic, beside its own.

    Args:
        folder: a log that recorded its logging propensities.
        other: a log of the policy to judge, of the same items.
        level: of the intervals, normal and clustered by request.

    Returns:
        "estimates" by the names in METHODS, each value, standard_error and ci; "logged" and "other", the
        click rates of both logs with theirs; "agrees", by method, whether the estimate and the other log's
        rate differ by no more than both their errors explain; "effective_rows" of the weights;
        "without_support", the policy's share of items never shown here.

    Raises:
        TraceError: no logs, no propensities, or no item in common.
    """
    if not 0 < level < 1:
        raise TraceError(f"--level is {level}, expected a share such as 0.95. Correct --level.")
    (log, names), (target, target_names) = (_with_names(each) for each in (folder, other))
    number = {name: i for i, name in enumerate(dict.fromkeys([*names, *target_names]))}
    if len(number) == len(names) + len(target_names):
        raise TraceError(
            f"{folder} and {other} have no item in common, expected logs of the same items. Check both."
        )
    if log.impressions.logging_propensity is None:
        raise TraceError(
            f"{folder} has no logging propensities, expected P(shown) of each impression. "
            "Map impressions.logging_propensity and import it anew."
        )
    positions = max(log.positions, target.positions, 1)
    if (log.positions == 0) != (target.positions == 0):
        raise TraceError(
            f"One of {folder} and {other} records positions and the other does not, expected both or "
            "neither. Map impressions.position in both."
        )
    shown, their = _shown(log, names, number), _shown(target, target_names, number)
    policy = shares(their, len(number), positions)
    estimates = {name: _with_ci(*found, level) for name, found in estimate(shown, policy).items()}
    logged = _with_ci(*_mean(their.click, their.request), level)
    weight = _weights(shown, policy)
    known = np.zeros((len(number), positions), np.bool_)
    known[shown.item, shown.position] = True
    of_position = np.bincount(their.position, minlength=positions) / len(their.click)
    return {
        "estimates": estimates,
        "logged": _with_ci(*_mean(shown.click, shown.request), level),
        "other": logged,
        "agrees": {name: _agrees(entry, logged, level) for name, entry in estimates.items()},
        "effective_rows": float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0,
        "without_support": float((np.where(known, 0.0, policy) * of_position).sum()),
        "level": level,
    }


def shares(shown: Shown, items: int, positions: int) -> F8:
    """(A, positions) how often each item is what a position shows."""
    counts = np.zeros((items, positions))
    np.add.at(counts, (shown.item, shown.position), 1.0)
    found: F8 = counts / np.maximum(counts.sum(axis=0), 1.0)
    return found


def estimate(shown: Shown, policy: F8) -> dict[str, tuple[float, float]]:
    """Value and standard error of a policy (A, positions), by each of METHODS."""
    weight = _weights(shown, policy)
    model = _click_model(shown, policy)
    # What the model expects of the policy at the row's position, by the half that the row is not in.
    expected = np.einsum("hap,ap->hp", model, policy)
    half = _half(shown.request)
    at = expected[half, shown.position]
    error = shown.click - model[half, shown.item, shown.position]
    chosen = uniform(_SEED, "replay", shown.request, shown.item) < weight / max(weight.max(), 1e-300)
    return {
        "ips": _mean(weight * shown.click, shown.request),
        "snips": _ratio(weight * shown.click, weight, shown.request),
        "dr": _mean(at + weight * error, shown.request),
        "replay": _ratio(chosen * shown.click, chosen.astype(np.float64), shown.request),
    }


def _weights(shown: Shown, policy: F8) -> F8:
    weight: F8 = policy[shown.item, shown.position] / shown.propensity
    return weight


def _half(request: NDArray[np.uint64]) -> I8:
    return (uniform(_SEED, "half", request) < 0.5).astype(np.int64)


def _click_model(shown: Shown, policy: F8) -> F8:
    """(2, A, positions) click rates, each half's learned from the other: no row knows its own click."""
    half = _half(shown.request)
    found = np.empty((2, *policy.shape))
    for side in (0, 1):
        rows = half != side
        counts, clicks = np.zeros(policy.shape), np.zeros(policy.shape)
        np.add.at(counts, (shown.item[rows], shown.position[rows]), 1.0)
        np.add.at(clicks, (shown.item[rows], shown.position[rows]), shown.click[rows])
        mean = clicks.sum() / max(counts.sum(), 1.0)
        # An item's rate is drawn to the mean, and its rate at a position to the item's.
        item = _drawn(clicks.sum(axis=1, keepdims=True), counts.sum(axis=1, keepdims=True), mean)
        found[side] = _drawn(clicks, counts, item)
    return found


def _drawn(clicks: F8, counts: F8, to: F8 | float) -> F8:
    drawn: F8 = (clicks + _PRIOR_ROWS * to) / (counts + _PRIOR_ROWS)
    return drawn


def _mean(value: F8, request: NDArray[np.uint64]) -> tuple[float, float]:
    return _ratio(value, np.ones(len(value)), request)


def _ratio(top: F8, below: F8, request: NDArray[np.uint64]) -> tuple[float, float]:
    """A ratio of sums and its standard error by the delta method, requests being independent."""
    if below.sum() == 0:
        return float("nan"), float("nan")
    ratio = top.sum() / below.sum()
    _, of = np.unique(request, return_inverse=True)
    residual = np.bincount(of, top - ratio * below)
    # Of no click at all the delta method says 0. Two clicks' worth stands in its place: the exact interval
    # (Clopper and Pearson, 1934) then ends at 3.7 clicks' worth, at a level of .95.
    spread = np.sqrt((residual**2).sum()) if top.any() else 2.0
    return float(ratio), float(spread / below.sum())


def _with_ci(value: float, error: float, level: float) -> dict[str, Any]:
    reach = float(norm.ppf(0.5 + level / 2)) * error
    # A click rate lies between 0 and 1.
    return {"value": value, "standard_error": error, "ci": [max(0.0, value - reach), min(1.0, value + reach)]}


def _agrees(one: dict[str, Any], other: dict[str, Any], level: float) -> bool:
    error = np.hypot(one["standard_error"], other["standard_error"])
    return bool(abs(one["value"] - other["value"]) <= norm.ppf(0.5 + level / 2) * error)


def _with_names(folder: Path) -> tuple[RealLog, list[str]]:
    """A log and what it calls its ads."""
    log, _ = read_log(folder)
    path = folder / "items.parquet"  # there where ids are text
    if not path.is_file():
        return log, [str(i) for i in log.ads.item_id.tolist()]
    table = read_table(path, NAMES_SCHEMA)
    called = dict(zip(table["id"].to_pylist(), table["name"].to_pylist(), strict=True))
    return log, [str(called.get(i, i)) for i in log.ads.item_id.tolist()]


def _shown(log: RealLog, names: list[str], number: dict[str, int]) -> Shown:
    shown = log.impressions
    rows = np.array([number[name] for name in names], np.int64)[shown.ad]
    n = len(rows)
    position = np.zeros(n, np.int64) if shown.position is None else shown.position.astype(np.int64)
    propensity = np.ones(n) if shown.logging_propensity is None else shown.logging_propensity
    if (propensity <= 0).any() or (propensity > 1).any():
        raise TraceError(
            f"Logging propensities span {propensity.min():g} to {propensity.max():g}, expected probabilities "
            "above 0, at most 1. Correct impressions.logging_propensity."
        )
    return Shown(rows, position, shown.click.astype(np.float64), propensity, shown.request_id)
