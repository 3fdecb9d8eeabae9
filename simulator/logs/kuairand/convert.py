"""From exposures to a real log: what a video, its author and a play mean in the auction's terms.

    ad          video                          advertiser  author, hashed to 200
    click       is_click                       conversion  long_view of a clicked video
    category    first tag, or one for none     scene       tab
    request     (user, time_ms), once          dwell       play time
    propensity  the user's earlier click rate, smoothed, as a logit
    action      hated: short; long view, like, follow, comment or forward: deep; clicked: click; else short

No row's features depend on later rows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.draws import bits
from simulator.logs.kuairand.candidates import nearest_candidates
from simulator.logs.kuairand.exposures import Exposures, Reading, Videos
from simulator.logs.real_log import (
    MIN_DAYS,
    Impressions,
    LogAds,
    RealLog,
    periods,
    split_days,
)
from simulator.traffic.behaviours import CLICK, DEEP, SHORT, Behaviours
from simulator.traffic.trace import DAY_S, PRE, Requests, TraceError

I8 = NDArray[np.int64]

UTC_OFFSET_MS = 8 * 3_600_000  #: Kuaishou's users live in China time
ADVERTISERS = 200
CANDIDATES = 32
#: Impressions of the average user that a user's own click rate is weighed against.
PRIOR_IMPRESSIONS = 5.0
#: What a click rate may know is this old, as behaviours are before a store can serve them.
FEATURE_DELAY_S = 60
_DAY_MS = DAY_S * 1000
_MAX_DWELL_S = 65_535
_AUTHOR_SEED = 0  # fixed: who advertises what belongs to the log, not to a run


def convert(rows: Exposures, videos: Videos, reading: Reading) -> RealLog:
    """Bring a log into the project's terms.

    Args:
        rows, videos: as read; rows whose video has no features are left out.
        reading: counts what is left out.

    Raises:
        TraceError: nothing to learn from: no rows, one user, no or only clicks, no conversion, fewer
            videos than candidates, or fewer than four days.
    """
    known = np.searchsorted(videos.video_id, rows.video_id)
    known = np.minimum(known, len(videos.video_id) - 1)
    found = videos.video_id[known] == rows.video_id
    reading.drop("video without a row in the video features", [], int((~found).sum()))
    rows, known = rows.take(found), known[found]
    reading.kept = len(rows)
    epoch_ms = _epoch(rows)
    _check_content(rows, epoch_ms)
    shown, ad = np.unique(known, return_inverse=True)
    ads = _ads(videos, shown)
    request, first = _requests_of(rows)
    impressions = _impressions(rows, ad.astype(np.int32), request, epoch_ms)
    days = int(impressions.day[-1]) + 1
    chosen = nearest_candidates(rows.time_ms, ad, rows.time_ms[first], first, CANDIDATES)
    return RealLog(
        epoch_ms,
        days,
        impressions,
        ads,
        _behaviours(impressions, ads),
        _requests(impressions, first, chosen, days),
    )


def local_date(epoch_ms: int, day: int) -> str:
    """The date of a day of the log, in China time."""
    at = datetime.fromtimestamp((epoch_ms + UTC_OFFSET_MS) / 1000, UTC) + timedelta(days=day)
    return at.date().isoformat()


def _epoch(rows: Exposures) -> int:
    if len(rows) == 0:
        raise TraceError("The log has no usable rows, expected some. Check what was left out, and why.")
    return int((rows.time_ms[0] + UTC_OFFSET_MS) // _DAY_MS * _DAY_MS - UTC_OFFSET_MS)


def _check_content(rows: Exposures, epoch_ms: int) -> None:
    """What the models and the experiment cannot do without."""
    users = len(np.unique(rows.user_id))
    clicked = rows.flags["is_click"] == 1
    days = int((rows.time_ms[-1] - epoch_ms) // _DAY_MS) + 1
    problems = (
        (users < 2, f"{users} user", "at least two, one per arm"),
        (not clicked.any(), "no clicks", "some to learn from"),
        (clicked.all(), "nothing but clicks", "some videos that were not clicked"),
        (
            clicked.any() and not (rows.flags["long_view"][clicked] == 1).any(),
            "no long view of a clicked video",
            "some, since they stand for conversions",
        ),
        (days < MIN_DAYS, f"{days} days", f"at least {MIN_DAYS}: training, held-out, pre-period, experiment"),
    )
    for wrong, what, expected in problems:
        if wrong:
            raise TraceError(f"The log has {what}, expected {expected}. Use more of the log.")


def _ads(videos: Videos, shown: I8) -> LogAds:
    authors, author = np.unique(videos.author_id[shown], return_inverse=True)
    # Videos without a tag form a category of their own, the first.
    _, category = np.unique(videos.tag[shown], return_inverse=True)
    advertiser = bits(_AUTHOR_SEED, "author", authors)[author] % np.uint64(ADVERTISERS)
    return LogAds(
        videos.video_id[shown].astype(np.uint64),
        author.astype(np.int64),
        category.astype(np.uint16),
        advertiser.astype(np.uint16),
        ADVERTISERS,
    )


def _requests_of(rows: Exposures) -> tuple[I8, I8]:
    """(N,) request number of each row and (R,) the first row of each: one a (user, time_ms)."""
    new = np.ones(len(rows), np.bool_)
    new[1:] = (rows.user_id[1:] != rows.user_id[:-1]) | (rows.time_ms[1:] != rows.time_ms[:-1])
    return np.cumsum(new) - 1, np.flatnonzero(new)


def _impressions(rows: Exposures, ad: NDArray[np.int32], request: I8, epoch_ms: int) -> Impressions:
    flag = {name: column == 1 for name, column in rows.flags.items()}
    deep = np.logical_or.reduce(
        [flag[name] for name in ("long_view", "is_like", "is_follow", "is_comment", "is_forward")]
    )
    action = np.select([flag["is_hate"], deep, flag["is_click"]], [SHORT, DEEP, CLICK], SHORT)
    time_s = (rows.time_ms - epoch_ms) / 1000.0
    second = (rows.time_ms - epoch_ms) // 1000
    return Impressions(
        request_id=request.astype(np.uint64),
        user_id=rows.user_id.astype(np.uint64),
        time_s=time_s,
        ad=ad,
        scene=rows.tab.astype(np.uint8),
        click=flag["is_click"].astype(np.uint8),
        conversion=(flag["is_click"] & flag["long_view"]).astype(np.uint8),
        action=action.astype(np.uint8),
        dwell_s=np.minimum(rows.play_time_ms // 1000, _MAX_DWELL_S).astype(np.uint16),
        # float32 rounds 23.99999999 up to 24.
        hour=np.minimum(time_s % DAY_S / 3600.0, 23.999).astype(np.float32),
        propensity=earlier_click_logit(rows.user_id, second, flag["is_click"]).astype(np.float32),
    )


def earlier_click_logit(user: I8, second: I8, click: NDArray[Any]) -> NDArray[np.float64]:
    """The logit of each row's user's click rate before it, pulled towards everyone's rate before it.

    Only rows at least FEATURE_DELAY_S older count, for the user and for everyone.

    Args:
        user, second, click: (N,), ascending in `second`.
    """
    horizon = second - FEATURE_DELAY_S
    seen = np.searchsorted(second, horizon, side="left")
    everyone = (_before(click)[seen] + 0.5) / (seen + 1.0)
    # Within a user rows keep their order in time, so counts are differences of running sums.
    order = np.lexsort((second, user))
    owner, start = np.unique(user[order], return_index=True)
    begin = start[np.searchsorted(owner, user)]
    # One ascending key for (user, second): the user's rank, then the second.
    span = int(second[-1]) + FEATURE_DELAY_S + 2
    rank = np.searchsorted(owner, user)
    key = rank * span + second
    end = np.searchsorted(key[order], rank * span + np.maximum(horizon, 0), side="left")
    end = np.maximum(end, begin)
    clicks = _before(click[order])
    mine = clicks[end] - clicks[begin]
    rate = (mine + PRIOR_IMPRESSIONS * everyone) / (end - begin + PRIOR_IMPRESSIONS)
    logit: NDArray[np.float64] = np.log(rate) - np.log1p(-rate)
    return logit


def _before(click: NDArray[Any]) -> NDArray[np.float64]:
    """(N + 1,) clicks among the first rows."""
    return np.concatenate([[0.0], np.cumsum(click, dtype=np.float64)])


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


def _requests(shown: Impressions, first: I8, candidates: I8, days: int) -> Requests:
    time_s = shown.time_s[first]
    requests = Requests(
        request_id=shown.request_id[first],
        arrival_s=time_s,
        user_id=shown.user_id[first],
        candidates=candidates.astype(np.uint64),
        slots=np.ones(len(first), np.uint8),
        hour=shown.hour[first],
        propensity=shown.propensity[first],
        period=np.full(len(first), PRE, np.uint8),
        day=(time_s // DAY_S).astype(np.int32),
    )
    period = periods(requests, split_days(days))
    return Requests(**{**vars(requests), "period": period})
