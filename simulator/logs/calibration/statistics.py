"""What can be said of traffic, real or generated, in the same words: `distributions` and `figures`.

Both read only what a log and a generated world have in common: behaviours, the requests that are replayed,
and the impressions that rankers learn from. Letters: U users, N behaviours, E events.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from simulator.traffic.behaviours import Behaviours
from simulator.traffic.log import LogImpressions
from simulator.world.protocol import ExperimentWorld

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

SESSION_S = 1800.0  #: a longer pause begins another session, as in the generated world
LONG_RETURN = 200  #: events after which only a long history knows of a category
KNOWN_USER = 20  #: behaviours of a user whose mixture of categories is looked at
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)

#: Of `distributions`: what is drawn, and its unit. The first five carry the bar of resemblance.
DISTRIBUTIONS = {
    "history_length": "behaviours of a user",
    "gap_s": "seconds between behaviours of a session",
    "return_events": "events since a category's last, in later halves of histories",
    "top_share": f"share of a user's first category (users of {KNOWN_USER} behaviours or more)",
    "user_activity": "replayed requests of a user",
    "session_gap_days": "days between sessions",
    "session_length": "behaviours of a session",
    "hour": "local hour of a request",
}
CALIBRATED = ("history_length", "gap_s", "return_events", "top_share", "user_activity")
#: Of `figures`.
FIGURES = {
    "history_p99_over_median": "P99 of history lengths over their median",
    "history_sd_ln": "sd of the logarithm of history lengths",
    "long_return_share": f"events whose category returns after more than {LONG_RETURN} events, later halves",
    "session_gap_p90_days": "P90 of the days between sessions",
    "effective_categories": "effective number of a user's categories, median",
    "same_category_next": "P(next behaviour in the same category)",
    "same_category_mix": "the same, if a user's behaviours came in random order",
    "item_repeats": "behaviours on an item that the user had met before",
    "top_percent_items": "share of behaviours on the first 1 % of items",
    "top_tenth_items": "share of behaviours on the first 10 % of items",
    "top_tenth_users": "share of requests of the first 10 % of users",
    "effective_users": "effective number of users by their requests, as a share",
    "fano_10": "Fano factor of arrivals in windows of 10 mean gaps",
    "fano_100": "Fano factor of arrivals in windows of 100 mean gaps",
    "click_rate": "clicks of an impression",
    "user_click_sd": "sd of users' click levels, logit",
}


def distributions(world: ExperimentWorld) -> dict[str, F8]:
    """A sample of each of DISTRIBUTIONS; empty where the traffic has none."""
    did = world.behaviours
    lengths = np.diff(did.offsets)
    gaps, inside = _gaps(did)
    session_ends = np.flatnonzero(~inside | (gaps > SESSION_S))
    return {
        "history_length": lengths[lengths > 0].astype(np.float64),
        "gap_s": gaps[inside & (gaps <= SESSION_S)],
        "return_events": _returns(did)[0].astype(np.float64),
        "top_share": _mixtures(did)[0],
        "user_activity": _requests_per_user(world),
        "session_gap_days": gaps[inside & (gaps > SESSION_S)] / 86_400.0,
        "session_length": np.diff(session_ends, prepend=-1).astype(np.float64),
        "hour": np.floor(world.requests.hour.astype(np.float64)),
    }


def figures(world: ExperimentWorld, drawn: dict[str, F8]) -> dict[str, float | None]:
    """Each of FIGURES; None where the traffic is too small to have one.

    Args:
        world: the traffic.
        drawn: its `distributions`.
    """
    did, lengths = world.behaviours, drawn["history_length"]
    top, effective, mix = _mixtures(did)
    counts = np.sort(np.unique(did.item_id, return_counts=True)[1])[::-1]
    asked = np.sort(_requests_per_user(world))[::-1]
    session_gap = drawn["session_gap_days"]
    returns, later = _returns(did)
    found = {
        "history_p99_over_median": np.quantile(lengths, 0.99) / np.median(lengths),
        "history_sd_ln": np.log(lengths).std(),
        "long_return_share": (returns > LONG_RETURN).sum() / max(later, 1),
        "session_gap_p90_days": np.quantile(session_gap, 0.9) if len(session_gap) else None,
        "effective_categories": np.median(effective) if len(top) else None,
        "same_category_next": _same_next(did),
        "same_category_mix": mix,
        "item_repeats": item_repeats(did),
        "top_percent_items": counts[: -(-len(counts) // 100)].sum() / counts.sum(),
        "top_tenth_items": counts[: -(-len(counts) // 10)].sum() / counts.sum(),
        "top_tenth_users": asked[: -(-len(asked) // 10)].sum() / asked.sum(),
        "effective_users": asked.sum() ** 2 / (asked**2).sum() / len(asked),
        "fano_10": fano(world.requests.arrival_s, 10),
        "fano_100": fano(world.requests.arrival_s, 100),
        "click_rate": world.log.click[world.log.shown].mean(),
        "user_click_sd": user_click_sd(world.log),
    }
    return {name: None if value is None else float(value) for name, value in found.items()}


def kolmogorov(a: F8, b: F8) -> float | None:
    """The largest difference between two samples' distribution functions; None where one is empty."""
    if len(a) == 0 or len(b) == 0:
        return None
    a, b = np.sort(a), np.sort(b)
    at = np.concatenate([a, b])
    below = [np.searchsorted(x, at, side="right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def fano(arrival_s: F8, mean_gaps: int) -> float | None:
    """Variance over mean of the arrivals in windows of so many mean gaps; 1 for a Poisson process."""
    span = arrival_s[-1] - arrival_s[0] if len(arrival_s) else 0.0
    windows = len(arrival_s) // mean_gaps
    if windows < 2 or span <= 0:
        return None
    at = np.floor((arrival_s - arrival_s[0]) / span * windows).astype(np.int64)
    counts = np.bincount(np.minimum(at, windows - 1), minlength=windows)
    return float(counts.var() / counts.mean())


def user_click_sd(log: LogImpressions) -> float | None:
    """The sd of a normal click level (logit) a user, by maximum likelihood; None if rates are 0 or 1.

    The likelihood of each user's clicks is integrated over the level by Gauss-Hermite quadrature.
    """
    users, of = np.unique(log.user_id, return_inverse=True)
    shown = np.bincount(of, log.shown.sum(axis=1), len(users))
    clicks = np.bincount(of, log.click.sum(axis=1), len(users))
    rate = clicks.sum() / shown.sum()
    if not 0 < rate < 1:
        return None
    kinds, times = np.unique(np.stack([shown, clicks], axis=1), axis=0, return_counts=True)
    n, k = kinds[:, :1], kinds[:, 1:]

    def loss(theta: F8) -> float:
        level = theta[0] + np.exp(theta[1]) * _NODES
        inside = k * level - n * np.logaddexp(0.0, level)
        most = inside.max(axis=1, keepdims=True)
        return -float((times * (np.log(np.exp(inside - most) @ _WEIGHTS) + most[:, 0])).sum())

    start = np.array([np.log(rate / (1.0 - rate)), 0.0])
    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-3})
    return float(np.exp(found.x[1]))


def item_repeats(did: Behaviours) -> float:
    """The share of behaviours on an item that the user had met before; 0 of none."""
    user, item = did.user_id, did.item_id
    order = np.lexsort((item, user))
    again = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
    return float(again.sum() / max(len(did), 1))


def _requests_per_user(world: ExperimentWorld) -> F8:
    """(U,) of everyone who has a history, 0 among them."""
    users = world.behaviours.users
    found = np.bincount(np.searchsorted(users, world.requests.user_id), minlength=len(users))
    return found.astype(np.float64)


def _gaps(did: Behaviours) -> tuple[F8, NDArray[np.bool_]]:
    """(N,) seconds to the next behaviour, and whether it is the same user's."""
    gaps = np.diff(did.time_s, append=did.time_s[-1:] if len(did) else 0).astype(np.float64)
    inside = np.ones(len(did), np.bool_)
    ends = did.offsets[1:][np.diff(did.offsets) > 0] - 1
    inside[ends] = False
    return gaps, inside


def _returns(did: Behaviours) -> tuple[I8, int]:
    """Events since a category's last, of those in the later halves that have one; and how many these are."""
    lengths = np.diff(did.offsets)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(did)) - np.repeat(did.offsets[:-1], lengths)
    later = 2 * place >= lengths[owner]
    order = np.lexsort((place, did.category, owner))
    same = (np.diff(owner[order]) == 0) & (np.diff(did.category[order].astype(np.int64)) == 0)
    since = np.diff(place[order])[same & later[order][1:]]
    return since, int(later.sum())


def _mixtures(did: Behaviours) -> tuple[F8, F8, float]:
    """Top share and effective number of categories, of users who are known; P(two behaviours agree)."""
    lengths = np.diff(did.offsets)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    width = int(did.category.max(initial=0)) + 1
    pairs, counts = np.unique(owner * width + did.category, return_counts=True)
    user = pairs // width
    share = counts / lengths[user]
    squares = np.bincount(user, share**2, len(lengths))
    top = np.zeros(len(lengths))
    np.maximum.at(top, user, share)
    # Without replacement: two different behaviours of the user.
    many = lengths > 1
    n = lengths[many].astype(np.float64)
    agree = (squares[many] * n - 1.0) / (n - 1.0)
    mix = float((agree * (n - 1.0)).sum() / max((n - 1.0).sum(), 1.0))
    known = lengths >= KNOWN_USER
    return top[known], 1.0 / squares[known], mix


def _same_next(did: Behaviours) -> float | None:
    _, inside = _gaps(did)
    here = np.flatnonzero(inside)
    return float((did.category[here] == did.category[here + 1]).mean()) if len(here) else None
