"""What a reader should know of a log's times: remarks that refuse nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.logs.table.convert import Converted
from simulator.logs.table.staging.mapping import Time
from simulator.scratch import slices_of
from simulator.traffic.trace import DAY_S

_AT_ONCE = 1 << 18  # requests in memory together
#: Of a log that knows hours and minutes, no such share of requests comes at midnight or on whole hours.
_COARSE = 0.95


def coarse_times(log: Converted) -> list[str]:
    """Say so where a log knows only days, or only hours: its requests then come at a few instants."""
    midnights = hours = 0
    shown = log.rows.impressions
    for part in slices_of(len(log.first), _AT_ONCE, log.first):
        at = log.first[part]
        hour, whole_days = shown.hour[at], log.time_ms[at] % (DAY_S * 1000) == 0
        midnights += int(((hour == 0) | whole_days).sum())  # of the log's zone, or of UTC
        hours += int(((hour == np.floor(hour)) | (log.time_ms[at] % 3_600_000 == 0)).sum())
    if midnights > _COARSE * len(log.first):
        return [
            f"{_share(midnights, log)} midnight: the log knows days only, and requests of a day come at one "
            "instant. Draw the second of the day in `time`, by user and day, as docs/logs.md and the shipped "
            "mapping tmall do (md5_number_lower)."
        ]
    if hours > _COARSE * len(log.first):
        return [
            f"{_share(hours, log)} whole hours: the log knows hours only, and requests of an hour come at "
            "one instant. Draw the second of the hour in `time`, as the shipped mapping avazu does "
            "(md5_number_lower)."
        ]
    return []


def swapped_days(rows: NDArray[np.int64], dates: list[str], time: Time) -> list[str]:
    """Say so where rows stand on the same day of each month only: then its number may be the month's.

    Args:
        rows: (D,) by day.
        dates: (D,) ISO 8601.
        time: how they were read; ISO 8601 and Unix times cannot be swapped.
    """
    filled = [dates[day] for day in np.flatnonzero(rows)]
    on = {int(date[-2:]) for date in filled}
    if (time.format is None and time.sql is None) or len(filled) < 2 or len(on) > 1:
        return []
    (day,) = on
    ending = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return [
        f"Rows on {len(filled):,} of {len(dates):,} days, all on the {day}{ending}: are day and month "
        'swapped in `format`? "%m/%d/%Y" has the month first, "%d/%m/%Y" the day.'
    ]


def _share(some: int, log: Converted) -> str:
    return "All times are" if some == len(log.first) else f"{some / len(log.first):.1%} of requests come at"
