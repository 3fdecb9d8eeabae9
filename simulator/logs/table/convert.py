"""From collected rows to a real log: days and hours, requests and their candidates, what a user did before.

    request     the log's own, or what one user was shown at one moment
    propensity  the user's earlier click rate, smoothed, as a logit
    behaviours  the mapping's, or else the impressions, clicked or not

No row's features depend on later rows.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from simulator.draws import uniform
from simulator.logs.real_log import (
    MIN_DAYS,
    Impressions,
    LogAds,
    RealLog,
    periods,
    split_days,
)
from simulator.logs.table.candidates import candidates_of
from simulator.logs.table.collect import Collected
from simulator.logs.table.mapping import Mapping
from simulator.traffic.behaviours import Behaviours
from simulator.traffic.trace import DAY_S, Requests, TraceError

I8 = NDArray[np.int64]

#: Impressions of the average user that a user's own click rate is weighed against.
PRIOR_IMPRESSIONS = 5.0
#: What a click rate may know is this old, as behaviours are before a store can serve them.
FEATURE_DELAY_S = 60
#: Clicks of a log without conversions become some, drawn: this share of them.
DRAWN_CONVERSIONS = 0.1
_DAY_MS, _HOUR_MS = DAY_S * 1000, 3_600_000
_AT_ONCE = 1 << 18  # rows whose intermediate values are in memory together
_DRAW_SEED = 0  # fixed: what is drawn into a log belongs to it, not to a run


def convert(found: Collected, mapping: Mapping) -> RealLog:
    """Bring a log into the project's terms.

    Raises:
        TraceError: nothing to learn from: one user, no or only clicks, no conversion, fewer items than
            candidates, or fewer than four days.
    """
    shown = found.shown
    zone = ZoneInfo(mapping.source.time_zone)
    epoch_ms = local_midnight_ms(int(shown["time_ms"][0]), zone)
    if mapping.impressions.conversion is None:
        shown["conversion"] = np.empty_like(shown["click"])
        for part in _parts(len(shown["click"])):
            ids = (shown[name][part] for name in ("user_id", "ad", "time_ms"))
            shown["conversion"][part] = uniform(_DRAW_SEED, "conversion", *ids) < DRAWN_CONVERSIONS
    shown["conversion"] = shown["conversion"] & shown["click"]
    _check_content(shown, epoch_ms)
    shown, rows = _by_request(shown)
    request, first = _requests_of(shown)
    impressions = _impressions(shown, request, epoch_ms, zone, mapping)
    ads = LogAds(*(getattr(found.ads, f.name) for f in fields(LogAds)))
    days = int(impressions.day[-1]) + 1
    given = (rows[found.given["row"]], found.given["ad"]) if found.given else None
    chosen = candidates_of(shown["time_ms"], impressions.ad, request, first, given, mapping.impressions.width)
    for rows_as_read in (shown, found.shown):
        rows_as_read.clear()  # memory: the impressions have it all
    return RealLog(
        epoch_ms,
        days,
        impressions,
        ads,
        _organic(found, impressions, epoch_ms) if found.done else _behaviours(impressions, ads),
        _requests(impressions, first, chosen, days),
    )


def local_midnight_ms(time_ms: int, zone: ZoneInfo) -> int:
    """The midnight before a moment, in a zone."""
    at = datetime.fromtimestamp(time_ms / 1000, zone)
    return int(at.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()) * 1000


def local_date(epoch_ms: int, day: int, zone: ZoneInfo) -> str:
    """The date of a day of the log."""
    # Noon, so that an hour of summer time changes no date.
    at = datetime.fromtimestamp(epoch_ms / 1000, UTC) + timedelta(days=day, hours=12)
    return at.astimezone(zone).date().isoformat()


def local_hours(time_ms: I8, zone: ZoneInfo) -> NDArray[np.float32]:
    """(N,) local hour of day in [0, 24)."""
    hours = np.empty(len(time_ms), np.float32)
    for part in _parts(len(hours)):
        # An offset holds for whole quarters of an hour, whatever the zone.
        quarters, of = np.unique(time_ms[part] // (_HOUR_MS // 4), return_inverse=True)
        offsets = np.array(
            [_offset_ms(int(quarter) * (_HOUR_MS // 4), zone) for quarter in quarters.tolist()], np.int64
        )
        local_ms = (time_ms[part] + offsets[of]) % _DAY_MS
        # float32 rounds 23.99999999 up to 24.
        hours[part] = np.minimum(local_ms / 1000.0 / 3600.0, 23.999)
    return hours


def _parts(rows: int) -> list[slice]:
    """Rows in parts of which memory holds one."""
    return [slice(first, first + _AT_ONCE) for first in range(0, rows, _AT_ONCE)]


def _offset_ms(time_ms: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(time_ms / 1000, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * 1000


def _check_content(shown: dict[str, NDArray[Any]], epoch_ms: int) -> None:
    """What the models and the experiment cannot do without."""
    users = len(np.unique(shown["user_id"]))
    click = shown["click"] == 1
    days = int((int(shown["time_ms"][-1]) - epoch_ms) // _DAY_MS) + 1
    problems = (
        (users < 2, f"{users} user", "at least two, one per arm"),
        (not click.any(), "no clicks", "some to learn from"),
        (click.all(), "nothing but clicks", "some impressions that were not clicked"),
        (
            click.any() and not shown["conversion"].any(),
            "no conversion of a click",
            "some; leave conversion out of the mapping to have them drawn",
        ),
        (days < MIN_DAYS, f"{days} days", f"at least {MIN_DAYS}: training, held-out, pre-period, experiment"),
    )
    for wrong, what, expected in problems:
        if wrong:
            raise TraceError(f"The log has {what}, expected {expected}. Use more of the log.")


def _by_request(shown: dict[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], I8]:
    """Rows of one request together, at the time of its first; and where each row went.

    Only a log that names its requests changes.
    """
    rows = np.arange(len(shown["time_ms"]))
    if "request" not in shown:
        return shown, rows
    _, of = np.unique(shown["request"], return_inverse=True)
    began = np.full(int(of.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(began, of, shown["time_ms"])
    changed = {**shown, "time_ms": began[of]}
    order = np.lexsort((shown["ad"], of, shown["user_id"], changed["time_ms"]))
    where = np.empty(len(order), np.int64)
    where[order] = rows
    return {name: column[order] for name, column in changed.items()}, where


def _requests_of(shown: dict[str, NDArray[Any]]) -> tuple[I8, I8]:
    """(N,) request number of each row and (R,) the first row of each."""
    keys = [shown[name] for name in ("user_id", "time_ms", "request") if name in shown]
    new = np.ones(len(keys[0]), np.bool_)
    new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.cumsum(new) - 1, np.flatnonzero(new)


def _impressions(
    shown: dict[str, NDArray[Any]], request: I8, epoch_ms: int, zone: ZoneInfo, mapping: Mapping
) -> Impressions:
    since_ms = shown["time_ms"] - epoch_ms
    position = None
    if mapping.impressions.position is not None:
        # Numbered from 0 in their order; a trace counts at most 127.
        position = np.minimum(np.unique(shown["position"], return_inverse=True)[1], 126).astype(np.uint8)
    return Impressions(
        request_id=request.astype(np.uint64),
        user_id=shown["user_id"].view(np.uint64),
        time_s=since_ms / 1000.0,
        ad=shown["ad"].astype(np.int32),
        scene=shown["scene"].astype(np.uint8),
        click=shown["click"].astype(np.uint8),
        conversion=shown["conversion"].astype(np.uint8),
        action=shown["action"].astype(np.uint8),
        dwell_s=shown["dwell_s"].astype(np.uint16),
        hour=local_hours(shown["time_ms"], zone),
        propensity=earlier_click_logit(
            shown["user_id"].astype(np.int64), since_ms // 1000, shown["click"] == 1
        ).astype(np.float32),
        position=position,
        logging_propensity=_kept(shown, "propensity"),
        bid=_kept(shown, "bid"),
        price=_kept(shown, "price"),
    )


def _kept(shown: dict[str, NDArray[Any]], name: str) -> NDArray[np.float64] | None:
    return np.asarray(shown[name], np.float64) if name in shown else None


def earlier_click_logit(user: I8, second: I8, click: NDArray[Any]) -> NDArray[np.float64]:
    """The logit of each row's user's click rate before it, pulled towards everyone's rate before it.

    Only rows at least FEATURE_DELAY_S older count, for the user and for everyone.

    Args:
        user, second, click: (N,), ascending in `second`.
    """
    before = _before(click)
    # Within a user rows keep their order in time, so counts are differences of running sums.
    order = np.argsort(user, kind="stable")
    starts = np.flatnonzero(np.diff(user[order], prepend=user[order[:1]] - 1))
    # One ascending key for (user, second): the user's rank, then the second.
    span = int(second[-1]) + FEATURE_DELAY_S + 2
    logit = np.empty(len(user))
    for low, high in _groups(starts, len(order)):
        rows = order[low:high]
        own = starts[np.searchsorted(starts, low) : np.searchsorted(starts, high)] - low
        rank = np.repeat(np.arange(len(own)), np.diff(own, append=len(rows)))
        begin, horizon = own[rank], second[rows] - FEATURE_DELAY_S
        seen = np.searchsorted(second, horizon, side="left")
        everyone = (before[seen] + 0.5) / (seen + 1.0)
        end = np.searchsorted(rank * span + second[rows], rank * span + np.maximum(horizon, 0), side="left")
        end = np.maximum(end, begin)
        clicks = _before(click[rows])
        mine = clicks[end] - clicks[begin]
        rate = (mine + PRIOR_IMPRESSIONS * everyone) / (end - begin + PRIOR_IMPRESSIONS)
        logit[rows] = np.log(rate) - np.log1p(-rate)
    return logit


def _groups(starts: I8, rows: int) -> list[tuple[int, int]]:
    """Rows [low, high) of whole users, about _AT_ONCE rows together."""
    edges = starts[np.unique(np.searchsorted(starts, np.arange(0, rows, _AT_ONCE)).clip(max=len(starts) - 1))]
    return list(pairwise([*edges.tolist(), rows]))


def _before(click: NDArray[Any]) -> NDArray[np.float64]:
    """(N + 1,) clicks among the first rows."""
    return np.concatenate([[0.0], np.cumsum(click, dtype=np.float64)])


def _organic(found: Collected, shown: Impressions, epoch_ms: int) -> Behaviours:
    """The mapping's behaviours; a user without any has an empty history. Earlier than the log is negative."""
    done = found.done
    users = np.unique(shown.user_id)
    owner = np.searchsorted(users, done["user_id"].astype(np.uint64))
    lengths = np.bincount(owner, minlength=len(users))
    return Behaviours(
        users,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        (done["time_ms"] - epoch_ms) // 1000,
        done["item_id"].astype(np.uint64),
        done["category"].astype(np.uint16),
        done["action"].astype(np.uint8),
        done["scene"].astype(np.uint8),
        done["dwell_s"].astype(np.uint16),
    )


def _behaviours(shown: Impressions, ads: LogAds) -> Behaviours:
    order = np.lexsort((shown.time_s, shown.user_id))
    user = shown.user_id[order]
    users, first = np.unique(user, return_index=True)
    return Behaviours(
        users,
        np.concatenate([first, [len(user)]]).astype(np.int64),
        np.floor(shown.time_s[order]).astype(np.int64),
        ads.item_id[shown.ad[order]],
        ads.category[shown.ad[order]],
        shown.action[order],
        shown.scene[order],
        shown.dwell_s[order],
    )


def _requests(shown: Impressions, first: I8, candidates: NDArray[np.uint64], days: int) -> Requests:
    # Where every row is a request of its own, they share its columns.
    rows = first if len(first) < len(shown) else slice(None)
    time_s = shown.time_s[rows]
    day = (time_s // DAY_S).astype(np.int32)
    return Requests(
        request_id=shown.request_id[rows],
        arrival_s=time_s,
        user_id=shown.user_id[rows],
        candidates=candidates,
        slots=np.ones(len(first), np.uint8),
        hour=shown.hour[rows],
        propensity=shown.propensity[rows],
        period=periods(day, split_days(days)),
        day=day,
    )
