"""Every parameter of the ground-truth world, and the named presets.

Start with `preset("demo")`. An *event* is one organic behaviour; interests live on the event
axis, whose origin is chosen so that every user stands at event T = `history_max` when the
pre-period begins. Money is in units of one currency, logits are natural, times carry units.

The preset `paper` is calibrated: its interest strength makes the AUC gap between long and
short histories resemble the one LASER reports (arXiv:2602.11562). That gap is an input.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.errors import SimulatorError, short
from simulator.world.calibrated import calibrated

#: One burst of arrivals: (day after the pre-period's first midnight, hour, minutes, factor).
Burst = tuple[int, float, float, float]


@dataclass(frozen=True)
class WorldConfig:
    """Parameters of one world. Frozen; change with `dataclasses.replace` or `preset(**overrides)`.

    Raises:
        SimulatorError: a parameter is outside its range (the message says found, expected, what to do).
    """

    preset: str = "custom"

    # --- sizes
    users: int = 3600
    history_max: int = 1000  #: events kept per user before the log begins; also T of the event axis
    #: Median of the lognormal length before clipping at history_max; far below 1 nobody brings anything.
    history_median: float = 1000.0
    history_sd: float = 1.06  #: sd of the log length (MovieLens)
    history_min: int = 20
    categories: int = 200
    ads: int = 2000
    advertisers: int = 200
    clusters: int = 20  #: demographic clusters
    department: int = 1  #: categories of a department: neighbours by number, related to one another
    items_per_category: int = 5000
    item_zipf: float = 0.65  #: popularity of the r-th item of a category falls as r**-item_zipf
    #: Share of events about the item that the user last met in the category, where there is one: .83 of a
    #: git history's events are about a file met before, .007 of KuaiRand's about such a video.
    item_repeat: float = 0.0
    candidates: int = 32  #: ads per request of the trace
    slots: int = 1

    # --- days and requests
    history_days: int | None = None  #: days before the log; None: 60 + 0.3 history_max
    log_days: int = 14
    holdout_days: int = 2
    pre_days: int = 2
    days: int = 5  #: of the experiment
    requests: int = 13_000  #: pre-period and experiment together, exact
    log_requests: int = 20  #: per user, training and holdout together
    #: Visits that each user is sure to pay. 2: one in the log's days, one in the trace's. 1: one in either;
    #: requests of log and trace are then shared by the behaviours there, and who did not come is not asked.
    #: A quarter of KuaiRand-Pure's users came once in all, and most of MovieLens' on one day.
    promised_visits: int = 2
    log_candidates: int = 8  #: random ads shown per log request
    #: Above 0: users arrive evenly over all days and are gone after a stay, log-normal with this median and
    #: `stay_sd`; `history_median` and its like then count for nothing. Half of MovieLens' users came for an
    #: hour, a quarter for more than 39 days of 22 years, a tenth for more than 617.
    stay_days: float = 0.0
    stay_sd: float = 2.0  #: sd of the logarithm of a stay
    #: Above 0: events of a stay's first session, log-normal with this mean and `first_session_sd`. In
    #: MovieLens' first sessions 44 films were rated (median), in later ones 2: newcomers are asked for some.
    first_session: float = 0.0
    first_session_sd: float = 1.0

    # --- interests (events)
    interests: int = 16
    interests_permanent: int = 4  #: the first ones are alive throughout
    interests_evergreen: int = 2  #: the first ones are always evergreen
    share_evergreen: float = 0.15
    share_burst: float = 0.15  #: the rest is periodic
    life_share: float = 1.5  #: mean life, in units of T
    burst_life: float = 400.0  #: mean life of a one-off burst, events
    period_min: float = 300.0
    period_max: float = 1500.0
    duty_min: float = 0.05
    duty_max: float = 0.20
    category_zipf: float = 0.7
    cluster_share: float = 0.5  #: share of interests drawn from the cluster's own taste
    cluster_concentration: float = 0.1

    # --- sessions
    session_mean: float = 10.0  #: events, geometric
    #: Above 0: sessions are log-normal with this sd of the logarithm, at least one event. Half of MovieLens'
    #: sessions have 1 or 2 ratings and 1 % more than 210, which no geometric length has.
    session_sd: float = 0.0
    topic_first: float = 0.525
    topic_second: float = 0.175
    dormant_topic: float = 0.02  #: weight of a dormant interest when topics are drawn
    #: Share of noise that is about one of the user's lifelong categories, dead ones included, not about any.
    #: What a feed shows is personal, so few categories come back after long: 0.5 % of MovieLens' events are
    #: of a category last met more than 200 events before, and 10 % of the demo's (docs/logs.md).
    noise_own: float = 0.0
    session_gap_days: float = 0.485  #: median of the lognormal gap at activity 1; pooled: 0.51 day
    session_gap_sd: float = 0.98
    activity_floor: float = 0.4  #: a user's pace is floor + 2 (1 - floor) x arcsine draw, mean 1
    #: Above 0: the pace is log-normal with mean 1 and this sd of its logarithm, without a floor. By the
    #: arcsine draw the first 10 % of users make .24 of the requests; in MovieLens they make .48.
    activity_sd: float = 0.0
    #: Share of a session's events, its first aside, that follow from the event before: they are about
    #: the next category of its department, or its own where departments have one category. Series and next
    #: steps: in KuaiRand the next behaviour is of the same category with .184, by the user's mixture .161.
    follow_share: float = 0.0
    gap_median_s: float = 11.0  #: between two behaviours of a session
    gap_sd: float = 1.778  #: 83 % under a minute
    gap_max_s: float = 1800.0  #: a longer pause would be another session
    bursts: tuple[Burst, ...] = ((1, 12.0, 20.0, 4.0), (3, 20.5, 15.0, 6.0))

    # --- response
    b0: float = -3.28  #: with this, 4.6 to 5.4 % of logged impressions are clicked
    bA: float = 0.6
    bR: float = 0.35
    #: Near 0, with bursts and short duties, interests rise and fade within days and recency pays: windows and
    #: ages then add twice as much to a count without order.
    dormant_click: float = 0.7
    affinity_cap: float = 2.5
    #: What an interest adds to the affinity to other categories of its department, as a share of what it adds
    #: to its own. Above 0 a candidate is known by more than its category, so that an attention can find what
    #: counting matches cannot: Complete Journey's products have 303 categories in a few departments.
    related: float = 0.0
    user_sd: float = 1.10
    propensity_noise: float = 0.35
    ad_sd: float = 0.4
    category_sd: float = 0.3
    position_slope: float = 0.15
    hour_amplitude: float = 0.15
    cvr0: float = -2.5
    cvr_sd: float = 0.4
    cvr_affinity: float = 0.4
    interest_candidates: float = 0.35  #: share of candidates from lifelong interests, dead included
    tcpa_median: float = 20.0
    tcpa_sd: float = 0.4

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field.name, str(field.type), getattr(self, field.name))
        for name, (accepts, expected) in _RULES.items():
            value = getattr(self, name)
            if value is not None and not accepts(value):
                raise SimulatorError(
                    f"World parameter {name} is {short(value)}, expected {expected}. "
                    f"Change {name} or leave it out."
                )
        for found, accepted, advice in _combinations(self):
            if not accepted:
                raise SimulatorError(f"{found}. {advice}")

    @property
    def history_span_days(self) -> int:
        """Days from the trace's epoch to the log's first midnight."""
        return 60 + math.ceil(0.3 * self.history_max) if self.history_days is None else self.history_days


_Rule = tuple[Callable[[Any], bool], str]


def _count(low: int, high: int) -> _Rule:
    """A whole number that a machine can hold; the upper end is there for slips of the keyboard."""
    return lambda v: low <= v <= high, f"from {low:,} to {high:,}"


def _between(low: float, high: float) -> _Rule:
    return lambda v: low <= v <= high, f"between {low:g} and {high:g}"


def _positive() -> _Rule:
    return lambda v: 0 < v <= 1e12, "above 0, at most 1e+12"


_DAYS, _MILLIONS, _BILLIONS = 10_000, 10_000_000, 2_000_000_000
_RULES: dict[str, _Rule] = {
    "users": _count(1, _BILLIONS), "history_max": _count(1, _MILLIONS),
    "history_median": _between(0.001, _MILLIONS), "history_sd": _between(0, 5),
    "history_min": _count(0, _MILLIONS), "categories": _count(2, 65_000),
    "ads": _count(2, _MILLIONS), "advertisers": _count(1, 65_000), "clusters": _count(1, 100_000),
    "items_per_category": _count(1, _BILLIONS), "item_zipf": (lambda v: 0 <= v < 1, "in [0, 1)"),
    "candidates": _count(1, 100_000), "slots": _count(1, 255), "history_days": _count(1, _DAYS),
    "log_days": _count(1, _DAYS), "holdout_days": _count(1, _DAYS), "pre_days": _count(0, _DAYS),
    "days": _count(1, _DAYS), "requests": _count(1, _BILLIONS), "log_requests": _count(1, _MILLIONS),
    "promised_visits": _count(1, 2), "stay_days": _between(0, _DAYS), "stay_sd": _between(0, 20),
    "first_session": _between(0, 1e6), "first_session_sd": _between(0, 5),
    "log_candidates": _count(1, 127), "interests": _count(1, 10_000),
    "interests_permanent": _count(0, 10_000), "interests_evergreen": _count(0, 10_000),
    "share_evergreen": _between(0, 1), "share_burst": _between(0, 1), "life_share": _positive(),
    "burst_life": _positive(), "period_min": _between(1, 1e12), "period_max": _between(1, 1e12),
    "duty_min": _between(0, 1), "duty_max": _between(0, 1), "category_zipf": _between(0, 5),
    "cluster_share": _between(0, 1), "cluster_concentration": _between(0.001, 1e6),
    "session_mean": _between(1, 1e6), "session_sd": _between(0, 5),
    "topic_first": _between(0, 1), "topic_second": _between(0, 1),
    "dormant_topic": _between(0, 1), "noise_own": _between(0, 1),
    "item_repeat": _between(0, 1), "department": _count(1, 65_000), "follow_share": _between(0, 0.99),
    "session_gap_days": _between(0.001, 1000),
    "session_gap_sd": _between(0, 5), "activity_floor": _between(0.05, 1), "activity_sd": _between(0, 3),
    "gap_median_s": _positive(), "gap_sd": _between(0, 5), "gap_max_s": _positive(),
    "b0": _between(-50, 50), "bA": _between(-10, 10), "bR": _between(-10, 10),
    "dormant_click": _between(0, 1), "related": _between(0, 1), "affinity_cap": _between(0, 1e6),
    "user_sd": _between(0, 10), "propensity_noise": _between(0, 10), "ad_sd": _between(0, 10),
    "category_sd": _between(0, 10), "position_slope": _between(0, 10), "hour_amplitude": _between(0, 10),
    "cvr0": _between(-50, 50), "cvr_sd": _between(0, 10), "cvr_affinity": _between(-10, 10),
    "interest_candidates": _between(0, 1), "tcpa_median": _positive(), "tcpa_sd": _between(0, 5),
}  # fmt: skip


def _check_type(name: str, declared: str, value: object) -> None:
    """Numbers must be finite numbers and counts must be whole: True or 3.5 users is a mistake."""
    if declared.startswith("int"):
        ok = (isinstance(value, int) and not isinstance(value, bool)) or (
            value is None and "None" in declared
        )
        expected = "a whole number"
    elif declared == "float":
        ok = _is_finite(value)
        expected = "a finite number"
    elif name == "bursts":
        ok = isinstance(value, tuple) and all(
            isinstance(b, tuple) and len(b) == 4 and all(map(_is_finite, b)) for b in value
        )
        expected = (
            "a list of bursts, each [day, hour, minutes, factor] such as [1, 12.0, 20.0, 4.0]; [] for none"
        )
    else:
        return
    if not ok:
        raise SimulatorError(f"World parameter {name} is {short(value)}, expected {expected}. Change {name}.")


def _is_finite(value: object) -> bool:
    # Compared, not converted: an int may be larger than any float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def _combinations(c: WorldConfig) -> list[tuple[str, bool, str]]:
    """(what was found, whether it is accepted, what to do) for parameters that must fit together."""
    most = max(c.candidates, c.log_candidates)
    return [
        (
            f"{most} candidates of {c.ads} ads leave too little choice, expected at most half of the ads",
            2 * most <= c.ads,
            "Lower candidates (or log_candidates) or raise ads",
        ),
        (
            f"{c.ads} ads for {c.categories} categories, expected at least one ad a category",
            c.ads >= c.categories,
            "Raise ads or lower categories",
        ),
        (
            f"{c.advertisers} advertisers for {c.ads} ads, expected at least one ad an advertiser",
            c.ads >= c.advertisers,
            "Raise ads or lower advertisers",
        ),
        (
            f"{c.slots} slots for {c.candidates} candidates, expected no more slots than candidates",
            c.slots <= c.candidates,
            "Lower slots or raise candidates",
        ),
        (
            f"share_evergreen + share_burst is {c.share_evergreen + c.share_burst:g}, expected at most 1",
            c.share_evergreen + c.share_burst <= 1,
            "Lower one of them",
        ),
        (
            f"topic_first + topic_second is {c.topic_first + c.topic_second:g}, expected at most 1",
            c.topic_first + c.topic_second <= 1 + 1e-12,
            "Lower one of them",
        ),
        (
            f"period_min {c.period_min:g} > period_max {c.period_max:g} (events)",
            c.period_min <= c.period_max,
            "Swap them",
        ),
        (
            f"related is {c.related:g} where a department has one category, expected departments of more",
            c.related == 0 or c.department > 1,
            "Raise department, or set related to 0",
        ),
        (
            f"stay_days is {c.stay_days:g} where promised_visits is 2, expected 1: who is gone pays no visit",
            c.stay_days == 0 or c.promised_visits == 1,
            "Set promised_visits to 1, or stay_days to 0",
        ),
        (
            f"first_session is {c.first_session:g} and stay_days 0, expected stays, which begin with it",
            c.first_session == 0 or c.stay_days > 0,
            "Set stay_days, or first_session to 0",
        ),
        (f"duty_min {c.duty_min:g} > duty_max {c.duty_max:g}", c.duty_min <= c.duty_max, "Swap them"),
        (
            f"history_min {c.history_min} > history_max {c.history_max}",
            c.history_min <= c.history_max,
            "Lower history_min or raise history_max",
        ),
        (
            f"{c.interests_evergreen} evergreen interests are promised but only {c.interests_permanent} are "
            f"permanent of {c.interests}, expected evergreen <= permanent <= interests",
            c.interests_evergreen <= c.interests_permanent <= c.interests,
            "Lower interests_evergreen or interests_permanent",
        ),
        *(
            (
                f"Burst {short(b)} of bursts does not fit, expected "
                "(day, hour in [0, 24), minutes within that day, factor > 0, at most 10,000)",
                0 <= b[1] < 24 and 0 < b[2] <= (24 - b[1]) * 60 and 0 < b[3] <= 10_000,
                "Correct the burst",
            )
            for b in c.bursts
        ),
    ]


# The full-size world has five times the history, so periods grow with it.
_FULL: dict[str, Any] = {
    "users": 100_000, "history_max": 5000, "history_median": 5000.0, "period_min": 800.0,
    "period_max": 6000.0, "log_days": 16, "holdout_days": 4, "log_requests": 5, "requests": 500_000,
    "pre_days": 2, "days": 7,
}  # fmt: skip
_QUICK: dict[str, Any] = {
    "users": 20_000, "log_days": 16, "holdout_days": 4, "log_requests": 5, "requests": 100_000,
    "pre_days": 2, "days": 5,
}  # fmt: skip

_PRESETS: dict[str, dict[str, Any]] = {
    "demo": {},
    "quick": _QUICK,
    "paper": _FULL | {"bA": 0.3, "bR": 0.2, "user_sd": 1.08, "b0": -3.1},
    "loud": _FULL,
    # Without affinity a lower logit would lower CTR; b0 restores the same click level.
    "null": _QUICK | {"bA": 0.0, "bR": 0.0, "b0": -3.0},
    "fast-drift": _QUICK
    | {"interests": 60, "interests_permanent": 0, "interests_evergreen": 0, "life_share": 0.15, "b0": -3.1},
}


def presets() -> tuple[str, ...]:
    """Names that `preset` knows: the made-up worlds, then those calibrated on a log."""
    return (*_PRESETS, *calibrated())


def preset(name: str, **overrides: Any) -> WorldConfig:
    """A named world, with any parameter replaced.

    Args:
        name: one of `presets()`.
        overrides: fields of `WorldConfig`. Overriding `history_max` alone moves `history_median` along.

    Raises:
        SimulatorError: unknown preset or parameter (the message lists what is known), or a bad value.
    """
    if name not in presets():
        raise SimulatorError(
            f"Unknown world preset {name!r}. Known: {', '.join(presets())}. Pick one of them."
        )
    known = [f.name for f in dataclasses.fields(WorldConfig) if f.name != "preset"]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise SimulatorError(
            f"Unknown world parameter {', '.join(unknown)}. Known: {', '.join(known)}. Correct the name."
        )
    values = (_PRESETS[name] if name in _PRESETS else calibrated()[name].world) | overrides
    if _is_finite(overrides.get("history_max")):  # anything else is refused below
        if "history_median" not in overrides:
            values["history_median"] = max(1, values["history_max"])
        if "history_min" not in overrides:
            values["history_min"] = max(0, min(WorldConfig.history_min, values["history_max"]))
    if isinstance(values.get("bursts"), list):
        values["bursts"] = tuple(tuple(b) if isinstance(b, list) else b for b in values["bursts"])
    return WorldConfig(preset=name, **values)
