"""From collected rows to a real log: days and hours, requests and their candidates, what a user did before.

    request     the log's own, or what one user was shown at one moment
    propensity  the user's earlier click rate, smoothed, as a logit
    behaviours  the mapping's, or else the impressions, clicked or not

No row's features depend on later rows. Start at `convert`. Columns lie in files (`simulator.scratch`) and are
gone through part by part. Letters: N impressions, R requests, U users.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from simulator.kept_code import njit_kept
from simulator.logs.real_log import MIN_DAYS, Impressions, LogAds, LogRows, periods, split_days
from simulator.logs.table.candidates import Listed, candidates_of, check_width
from simulator.logs.table.collect import Collected
from simulator.logs.table.rows import DRAWN_CONVERSIONS, Columns, Totals
from simulator.logs.table.staging.mapping import Mapping
from simulator.scratch import apart, gathered, let_go, slices_of
from simulator.traffic.behaviours import Behaviours
from simulator.traffic.trace import DAY_S, Requests, TraceError

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
Rows = tuple[I4, I8, NDArray[np.uint8]]  # users, seconds, clicks

#: Impressions of the average user that a user's own click rate is weighed against.
PRIOR_IMPRESSIONS = 5.0
#: What a click rate may know is this old, as behaviours are before a store can serve them.
FEATURE_DELAY_S = 60
_DAY_MS, _HOUR_MS = DAY_S * 1000, 3_600_000
_AT_ONCE = 1 << 18  # rows whose intermediate values are in memory together
_SORTED = 1 << 21  # behaviours that are sorted together
_LAST_POSITION = 126  # a trace counts at most 127
_BEHAVIOUR = np.dtype(
    [("user", "i4"), ("ad", "i4"), ("time_s", "i8"), ("action", "u1"), ("scene", "u1"), ("dwell_s", "u2")]
)


@dataclass(frozen=True)
class Converted:
    """A log in the project's terms; its requests are made when they are asked for, since they are its bulk.

    Attributes:
        rows: the log without its requests.
        first: (R,) the first impression of each request; requests are numbered in their order.
        time_ms: (N,) of the impressions, Unix.
        listed: the candidates that the log lists.
        width: candidates of a request.
    """

    rows: LogRows
    first: I8
    time_ms: I8
    listed: Listed | None
    width: int

    def requests(self) -> Iterator[Requests]:
        """All requests, part by part; `period` is that of the default split.

        Raises:
            TraceError: a request has too few candidates.
        """
        shown, split = self.rows.impressions, split_days(self.rows.days)
        columns = (shown.request_id, shown.time_s, shown.user_id, shown.hour, shown.propensity, self.first)
        ads, done = len(self.rows.ads.item_id), 0
        for chosen in candidates_of(self.time_ms, shown.ad, self.first, self.listed, ads, self.width):
            at = self.first[done : done + len(chosen)]
            time_s = shown.time_s[at]
            day = (time_s // DAY_S).astype(np.int32)
            yield Requests(
                request_id=shown.request_id[at],
                arrival_s=time_s,
                user_id=shown.user_id[at],
                candidates=chosen,
                slots=np.ones(len(at), np.uint8),
                hour=shown.hour[at],
                propensity=shown.propensity[at],
                period=periods(day, split),
                day=day,
            )
            let_go(*columns)
            done += len(chosen)


def convert(found: Collected, mapping: Mapping, folder: Path) -> Converted:
    """Bring a log into the project's terms.

    Args:
        found: its rows.
        mapping: what they mean.
        folder: where the files of columns are; they have no name there.

    Raises:
        TraceError: nothing to learn from: one user, no or only clicks, no conversion, fewer items than
            candidates, or fewer than four days.
    """
    shown, zone = found.shown, ZoneInfo(mapping.source.time_zone)
    time_ms = shown["time_ms"]
    epoch_ms = local_midnight_ms(int(time_ms[0]), zone)
    drawn = mapping.impressions.conversion is None
    _check_content(found.totals, len(found.users), epoch_ms, drawn)
    listed = Listed(shown["given"], shown["given_end"], shown.get("came")) if "given" in shown else None
    ads = LogAds(*(getattr(found.ads, f.name) for f in fields(LogAds)))
    check_width(shown["ad"], listed, len(ads.item_id), mapping.impressions.width)
    made = gathered(_made(shown, found.users, epoch_ms, zone), folder)
    impressions = Impressions(
        request_id=made["request_id"],
        user_id=shown["user_id"].view(np.uint64),
        time_s=made["time_s"],
        ad=shown["ad"],
        **{name: shown[name] for name in ("scene", "click", "conversion", "action", "dwell_s")},
        hour=made["hour"],
        propensity=made["propensity"],
        position=made.get("position"),
        logging_propensity=shown.get("propensity"),
        bid=shown.get("bid"),
        price=shown.get("price"),
    )
    if mapping.behaviours is not None:
        behaviours = _organic(found, epoch_ms, folder)
    else:
        groups = _by_user(impressions, made["user"], found.users, ads, folder)
        behaviours = Behaviours.concatenate(groups, folder)
    days = int(impressions.time_s[-1] // DAY_S) + 1
    rows = LogRows(epoch_ms, days, impressions, ads, behaviours)
    return Converted(rows, made["first"], time_ms, listed, mapping.impressions.width)


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
    # An offset holds for whole quarters of an hour, whatever the zone.
    quarters, of = np.unique(time_ms // (_HOUR_MS // 4), return_inverse=True)
    starts = (int(quarter) * (_HOUR_MS // 4) for quarter in quarters.tolist())
    offsets = np.array([_offset_ms(start, zone) for start in starts], np.int64)
    local_ms = (time_ms + offsets[of]) % _DAY_MS
    # float32 rounds 23.99999999 up to 24.
    return np.minimum(local_ms / 1000.0 / 3600.0, 23.999).astype(np.float32)


def _offset_ms(time_ms: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(time_ms / 1000, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * 1000


def _check_content(totals: Totals, users: int, epoch_ms: int, drawn: bool) -> None:
    """What the models and the experiment cannot do without; conversions are the log's, or drawn."""
    days = int((totals.last_ms - epoch_ms) // _DAY_MS) + 1
    problems = (
        (users < 2, f"{users} user", "at least two, one per arm"),
        (not totals.clicks, "no clicks", "some to learn from"),
        (
            totals.clicks and not totals.conversions and not drawn,
            "no conversion of a click",
            "some; leave conversion out of the mapping to have them drawn",
        ),
        (
            totals.clicks and not totals.conversions,
            f"{totals.clicks:,} clicks, of which none is a conversion ({DRAWN_CONVERSIONS:.0%} are drawn)",
            "more clicks, or impressions.conversion",
        ),
        (days < MIN_DAYS, f"{days} days", f"at least {MIN_DAYS}: training, held-out, pre-period, experiment"),
    )
    if totals.rows and totals.clicks == totals.rows:
        raise TraceError(
            "The log has nothing but clicks, expected some impressions that were not clicked. More of it "
            "cannot help: map views or exposures too, or make impressions beside what was bought, as "
            'docs/logs.md says under "Only purchases?". A threshold among bought items is no impression.'
        )
    for wrong, what, expected in problems:
        if wrong:
            raise TraceError(f"The log has {what}, expected {expected}. Use more of the log.")


def _made(shown: Columns, users: NDArray[np.uint64], epoch_ms: int, zone: ZoneInfo) -> Iterator[Columns]:
    """What is worked out for each impression, and the "first" one of each request."""
    names = [name for name in ("user_id", "time_ms", "request") if name in shown]
    positions = _positions(shown["position"]) if "position" in shown else None
    earlier = EarlierClicks(len(users))
    last: list[Any] | None = None
    requests = 0
    for part in slices_of(len(shown["ad"]), _AT_ONCE, *shown.values()):
        time_ms, since_ms = shown["time_ms"][part], shown["time_ms"][part] - epoch_ms
        keys = [shown[name][part] for name in names]
        new = np.ones(len(time_ms), np.bool_)
        new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
        new[0] = last is None or any(key[0] != before for key, before in zip(keys, last, strict=True))
        last = [key[-1] for key in keys]
        request = requests + np.cumsum(new) - 1
        requests = int(request[-1]) + 1
        user = np.searchsorted(users, shown["user_id"][part].view(np.uint64)).astype(np.int32)
        made = {
            "request_id": request.astype(np.uint64),
            "first": part.start + np.flatnonzero(new),
            "user": user,
            "time_s": since_ms / 1000.0,
            "hour": local_hours(time_ms, zone),
            "propensity": earlier(user, since_ms // 1000, shown["click"][part]).astype(np.float32),
        }
        if positions is not None:
            # Numbered from 0 in their order.
            rank = np.searchsorted(positions, shown["position"][part])
            made["position"] = np.minimum(rank, _LAST_POSITION).astype(np.uint8)
        yield made


def _positions(position: I8) -> I8:
    """The lowest positions that are distinguished, ascending."""
    known = np.empty(0, np.int64)
    for part in slices_of(len(position), _AT_ONCE, position):
        known = np.unique(np.concatenate([known, position[part]]))[: _LAST_POSITION + 1]
    return known


class EarlierClicks:
    """The logit of each impression's user's click rate before it, pulled towards everyone's rate before it.

    Only rows at least FEATURE_DELAY_S older count, for the user and for everyone.

    Args:
        users: U.
    """

    def __init__(self, users: int) -> None:
        self._seen = np.zeros((users + 1, 2), np.int64)  # rows and clicks by user, and of all in the last row
        self._waiting: Rows = (np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.uint8))  # too new

    def __call__(self, user: I4, second: I8, click: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The logits of the next rows.

        Args:
            user, second, click: (n,), ascending in `second`, and not before the rows of earlier calls.
        """
        asked = len(self._waiting[0])
        users, seconds, clicks = self._waiting
        rows = (
            np.concatenate([users, user]),
            np.concatenate([seconds, second]),
            np.concatenate([clicks, click]),
        )
        own, everyone = np.empty((len(user), 2), np.int64), np.empty((len(user), 2), np.int64)
        old = _count(*rows, asked, FEATURE_DELAY_S, self._seen, own, everyone)
        self._waiting = (rows[0][old:], rows[1][old:], rows[2][old:])
        rate = (everyone[:, 1] + 0.5) / (everyone[:, 0] + 1.0)
        rate = (own[:, 1] + PRIOR_IMPRESSIONS * rate) / (own[:, 0] + PRIOR_IMPRESSIONS)
        logit: NDArray[np.float64] = np.log(rate) - np.log1p(-rate)
        return logit


@njit_kept()
def _count(
    user: I4, second: I8, click: NDArray[np.uint8], asked: int, delay: int, seen: I8, own: I8, everyone: I8
) -> int:  # pragma: no cover - compiled
    """Rows and clicks that are old enough, for each row from `asked` on; which rows are not, is returned."""
    old, last = 0, len(seen) - 1
    for row in range(asked, len(user)):
        while second[old] < second[row] - delay:
            seen[user[old], 0] += 1
            seen[user[old], 1] += click[old]
            seen[last, 0] += 1
            seen[last, 1] += click[old]
            old += 1
        own[row - asked] = seen[user[row]]
        everyone[row - asked] = seen[last]
    return old


def _organic(found: Collected, epoch_ms: int, folder: Path) -> Behaviours:
    """The mapping's behaviours; a user without any has an empty history. Earlier than the log is negative."""
    done, users = found.done, found.users
    lengths = np.zeros(len(users), np.int64)

    def seconds() -> Iterator[Columns]:
        for part in slices_of(len(done["time_ms"]), _AT_ONCE, *done.values()):
            owner = np.searchsorted(users, done["user_id"][part].astype(np.uint64))
            lengths[:] += np.bincount(owner, minlength=len(users))
            yield {"time_s": (done["time_ms"][part] - epoch_ms) // 1000}

    time_s = gathered(seconds(), folder).get("time_s", np.empty(0, np.int64))
    return Behaviours(
        users,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        time_s,
        done["item_id"].view(np.uint64),
        *(done[name] for name in ("category", "action", "scene", "dwell_s")),
    )


def _by_user(
    shown: Impressions, user: I4, users: NDArray[np.uint64], ads: LogAds, folder: Path
) -> Iterator[Behaviours]:
    """The impressions as behaviours, of groups of users; each user's stay in their order."""
    columns: Columns = {"user": user, "ad": shown.ad, "time_s": shown.time_s}
    columns |= {name: getattr(shown, name) for name in ("action", "scene", "dwell_s")}
    lengths = np.zeros(len(users), np.int64)
    for part in slices_of(len(user), _AT_ONCE, user):
        lengths += np.bincount(user[part], minlength=len(users))
    ends = np.cumsum(lengths)
    group = np.unique((ends - lengths) // _SORTED, return_inverse=True)[1]

    def records() -> Iterator[tuple[NDArray[Any], I8]]:
        for part in slices_of(len(user), _AT_ONCE, *columns.values()):
            rows = np.empty(part.stop - part.start, _BEHAVIOUR)
            for name, column in columns.items():
                rows[name] = column[part]  # seconds are rounded down: the log begins at 0
            yield rows, group[rows["user"]]

    for number, rows in enumerate(apart(records(), int(group[-1]) + 1, folder)):
        low, high = np.searchsorted(group, (number, number + 1))
        own = rows[np.argsort(rows["user"], kind="stable")]
        yield Behaviours(
            users[low:high],
            np.concatenate([[0], np.cumsum(lengths[low:high])]),
            own["time_s"],
            ads.item_id[own["ad"]],
            ads.category[own["ad"]],
            *(own[name] for name in ("action", "scene", "dwell_s")),
        )
