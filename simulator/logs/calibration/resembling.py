"""A generated world that resembles a log: `resembling_world`.

Sizes and days are the log's. The rest is searched: one parameter after another is moved as long as the
Kolmogorov distances of what the two worlds' users do shrink. Then items' repeats, the click level and, last,
the strength of interests are brought to the log's: as much as histories can move the log's best ad.
The search looks at worlds of few users and of one seed; `calibrate` judges its result on another seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from simulator.logs.calibration.levels import click_level, with_repeats
from simulator.logs.calibration.statistics import CALIBRATED, SESSION_S, distributions, kolmogorov
from simulator.logs.calibration.trials import TRIAL_SEED, trial
from simulator.logs.real_log import RealLog, Split
from simulator.traffic.behaviours import Behaviours
from simulator.world.config import WorldConfig
from simulator.world.fitted import LogWorld

F8 = NDArray[np.float64]

_PASSES = 2
_TRIAL_EVENTS, _TRIAL_USERS = 100_000, (128, 2048)
#: Visits of the most active user of a trial, three sd up: a log of decades would else take hours.
_MOST_VISITS = 20_000
#: Looked at first and together, since how unequal users are and how often they come look alike in histories.
_PACES = tuple(itertools.product((1.0, 2.0, 4.0, 8.0), (0.1, 0.5, 0.8, 1.1, 1.4, 1.8), (0.98, 1.5)))
#: Looked at together next: many interests and little noise look alike in what comes back when.
_TASTES = tuple(itertools.product((8, 16, 32, 64, 128, 256), (0.05, 0.2, 0.45), (0.0, 0.5, 1.0)))
_ABSENT = 0.05  #: where more users than these came only before the trace or only in it, one visit is promised
_LEAST_GAP_S = 0.01  # baskets have one time for all that is in them
_NO_HISTORY = 0.001  # of who brings none to the log's begin
_MOST_SHOWN = 127
_LEAST_STAY = 0.001  # days
_SHORT_STAY = 0.1  #: of the log's days: where half of the users are gone by then, they have stays

#: What is searched, in order, by factors or by values. Pace and sessions come first: lengths rest on them.
_FACTORS: dict[str, tuple[float, ...]] = {
    "session_gap_days": (0.25, 0.5, 0.75, 1.4, 2.0, 4.0),
    "session_mean": (0.6, 0.8, 1.25, 1.6),
    "history_median": (0.7, 0.85, 1.2, 1.4),
    "gap_median_s": (0.5, 0.75, 1.4, 2.0),
    "stay_days": (0.25, 0.5, 2.0, 4.0),
    "first_session": (0.7, 0.85, 1.2, 1.4),
}
_VALUES: dict[str, tuple[float, ...]] = {
    "activity_sd": (0.3, 0.5, 0.8, 1.1, 1.4, 1.8),
    "session_gap_sd": (0.5, 0.98, 1.5, 2.0),
    "session_sd": (0.0, 0.7, 1.2, 1.8),
    "history_sd": (0.3, 0.6, 0.9, 1.2, 1.5),
    "gap_sd": (0.8, 1.2, 1.778, 2.3),
    "stay_sd": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0),
    "first_session_sd": (0.4, 0.6, 0.8, 1.0, 1.25),
    "interests": (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256),
    "category_zipf": (0.3, 0.7, 1.1, 1.5),
    "topic_first": (0.0, 0.1, 0.3, 0.525, 0.75),
    "share_evergreen": (0.15, 0.5, 0.85),
    "noise_own": (0.0, 0.25, 0.5, 0.75, 1.0),
    "follow_share": (0.0, 0.15, 0.3, 0.5),
}
#: Of a session's topics the second has this share of the first's, as in the presets.
_SECOND = 1.0 / 3.0


def resembling_world(
    log: RealLog,
    world: LogWorld,
    split: Split,
    history_can_move: float | None,
    on_progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Parameters for `[traffic.world]` over the preset BASE.

    Args:
        log: the whole log.
        world: the world fitted on it.
        split: its days.
        history_can_move: the most that histories can add to the log's true CTR of the best ad, as a share;
            None keeps the preset's strength of interests.
        on_progress: called with (stage, done, total).
    """
    target = distributions(world)
    chosen = _from_log(log, world, split, target)
    chosen["session_gap_days"] *= max(1.0, _visits(chosen) / _MOST_VISITS)
    steps = {name: len(found) for name, found in (_FACTORS | _VALUES).items() if _matters(name, chosen)}
    total, done = len(_PACES) + len(_TASTES) + _PASSES * sum(steps.values()), 0
    best = np.inf
    for grid in (_paces, _tastes):
        for changed in grid(chosen):
            on_progress("resembling world", done, total)
            done += 1
            if _visits(changed) > _MOST_VISITS:
                continue
            distance = _distance(changed, target)
            if distance < best:
                best, chosen = distance, changed
    for _ in range(_PASSES):
        for name in steps:
            on_progress("resembling world", done, total)
            for changed in _neighbours(chosen, name):
                distance = _distance(changed, target)
                # A step must be worth more than a trial's noise.
                if distance < 0.98 * best:
                    best, chosen = distance, changed
            done += steps[name]
    on_progress("resembling world", total, total)
    return click_level(with_repeats(chosen, world), world, history_can_move)


def _from_log(log: RealLog, world: LogWorld, split: Split, target: dict[str, F8]) -> dict[str, Any]:
    """Sizes and days, and where the search begins."""
    did, lengths = world.behaviours, target["history_length"]
    before = did.count_before(np.arange(len(did.users)), np.zeros(len(did.users)))
    known = np.maximum(before, _NO_HISTORY)
    ads = len(log.ads.item_id)
    categories = min(max(log.categories, 2), ads)
    shown = int(world.log.shown.sum())
    candidates = min(log.requests.candidates.shape[1], ads // 2)
    gap_median_s, gap_sd = _pauses(target["gap_s"])
    return {
        "users": len(did.users),
        "history_max": int(max(lengths.max(), 2)),
        "history_median": float(np.median(known)),
        "history_sd": float(np.log(known).std()) if before.any() else 0.0,
        "history_min": int(min(before.min(), 1)),
        "categories": categories,
        "ads": ads,
        "advertisers": min(log.ads.advertisers, ads),
        "items_per_category": max(1, len(np.unique(did.item_id)) // categories),
        "candidates": candidates,
        "history_days": max(1, int(np.ceil(-did.time_s.min() / 86_400.0))),
        "log_days": split.holdout,
        "holdout_days": split.pre - split.holdout,
        "pre_days": split.experiment - split.pre,
        "days": split.end - split.experiment,
        "requests": len(world.requests),
        "log_requests": max(1, round(len(world.log) / len(did.users))),
        "log_candidates": int(np.clip(round(shown / len(world.log)), 1, min(_MOST_SHOWN, ads // 2))),
        "bursts": [],
        "promised_visits": _promised(did, world),
        "session_mean": float(max(1.0, target["session_length"].mean())),
        "session_gap_days": float(np.median(target["session_gap_days"]))
        if len(target["session_gap_days"])
        else 1.0,
        "session_gap_sd": 0.98,
        "session_sd": 0.0,
        "activity_sd": 0.8,
        "gap_median_s": gap_median_s,
        "gap_sd": gap_sd,
        "interests": 16,
        "category_zipf": 0.7,
        "topic_first": 0.525,
        "topic_second": 0.175,
        "share_evergreen": 0.15,
        **({} if log.positions else {"position_slope": 0.0}),
        "noise_own": 0.0,
        "follow_share": 0.0,
        **_stays(did, log.days),
    }


def _pauses(gap_s: F8) -> tuple[float, float]:
    """Median and sd of the logarithm of pauses as near as can be to those of a log's sessions."""
    if not (gap_s > 0).any():
        return (_LEAST_GAP_S, 0.0) if len(gap_s) else (WorldConfig.gap_median_s, WorldConfig.gap_sd)
    z = norm.ppf((np.arange(1000) + 0.5) / 1000)
    middle = max(float(np.median(gap_s)), 1.0)
    tried = itertools.product(middle * np.geomspace(0.25, 4.0, 17), np.linspace(0.4, 3.0, 14))

    def distance(median_s: float, sd: float) -> float:
        drawn = np.floor(np.minimum(median_s * np.exp(sd * z), WorldConfig.gap_max_s))
        return kolmogorov(gap_s, drawn) or 0.0

    best = min(tried, key=lambda pair: distance(*pair))
    return float(best[0]), float(best[1])


def _stays(did: Behaviours, days: int) -> dict[str, Any]:
    """Where half of the users are soon gone: stays, first sessions and later ones as the log has them."""
    lengths = np.diff(did.offsets)
    begin, end = did.offsets[:-1][lengths > 0], did.offsets[1:][lengths > 0]
    spent = (did.time_s[end - 1] - did.time_s[begin]) / 86_400.0
    if len(spent) == 0 or np.median(spent) > _SHORT_STAY * days:
        return {}
    pause = np.diff(did.time_s, prepend=did.time_s[:1]) > SESSION_S
    pause[begin] = True
    starts = np.flatnonzero(pause)
    session = np.diff(starts, append=len(did))
    newcomer = np.isin(starts, begin)
    first, later = (session[rows] for rows in (newcomer, ~newcomer))
    low, high = np.quantile(np.maximum(spent, _LEAST_STAY), (0.5, 0.9))
    return {
        "promised_visits": 1,
        "stay_days": float(low),
        "stay_sd": float(np.log(high / low) / norm.ppf(0.9)),
        "first_session": float(first.mean()),
        "first_session_sd": float(np.log(first).std()),
        "session_mean": float(later.mean()) if len(later) else 1.0,
    }


def _matters(name: str, chosen: dict[str, Any]) -> bool:
    """Whether a parameter can move anything: the log may have no earlier histories, or no pauses."""
    if name.startswith("history_"):
        return bool(chosen["history_median"] > _NO_HISTORY)
    if name.startswith(("stay_", "first_session")):
        return "stay_days" in chosen
    return not (name in ("gap_median_s", "gap_sd") and chosen["gap_sd"] == 0)


def _promised(did: Behaviours, world: LogWorld) -> int:
    """2 where nearly everyone comes both before the replayed requests and after their begin, else 1."""
    begin = np.floor(world.requests.arrival_s[0])
    earlier = did.count_before(np.arange(len(did.users)), np.full(len(did.users), begin))
    both = (earlier > 0) & (earlier < np.diff(did.offsets))
    return 2 if both.mean() > 1.0 - _ABSENT else 1


def _paces(begin: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        begin
        | {
            "session_gap_days": begin["session_gap_days"] * factor,
            "activity_sd": activity_sd,
            "session_gap_sd": gap_sd,
        }
        for factor, activity_sd, gap_sd in _PACES
    ]


def _tastes(begin: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        begin
        | {"interests": interests, "topic_first": first, "topic_second": first * _SECOND, "noise_own": own}
        for interests, first, own in _TASTES
    ]


def _neighbours(chosen: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The same parameters with others for `name`; those that no world could have are left out."""
    now = chosen[name]
    values = [now * factor for factor in _FACTORS[name]] if name in _FACTORS else list(_VALUES[name])
    found = []
    for value in values:
        changed = {**chosen, name: value}
        if name == "session_mean" and value < 1.0:
            continue
        if name == "topic_first":
            changed["topic_second"] = value * _SECOND
        if name == "history_median" and not _NO_HISTORY <= value <= chosen["history_max"]:
            continue
        if value != now and _visits(changed) <= _MOST_VISITS:
            found.append(changed)
    return found


def _visits(overrides: dict[str, Any]) -> float:
    days = sum(overrides[name] for name in ("history_days", "log_days", "holdout_days", "pre_days", "days"))
    return float(days / overrides["session_gap_days"] * np.exp(3.0 * overrides["activity_sd"]))


def _distance(overrides: dict[str, Any], target: dict[str, F8]) -> float:
    """The sum of squared distances, so that the largest counts most; sessions by half."""
    # The longer the histories, the fewer users tell as much.
    users = int(np.clip(_TRIAL_EVENTS / target["history_length"].mean(), *_TRIAL_USERS))
    found = distributions(trial(overrides, users, TRIAL_SEED))
    weights = {**dict.fromkeys(CALIBRATED, 1.0), "session_gap_days": 0.5, "session_length": 0.5}
    distances = {name: kolmogorov(target[name], found[name]) for name in weights}
    return sum(weights[name] * (0.0 if d is None else d) ** 2 for name, d in distances.items())
