"""A real log in the project's terms: who was shown which ad when, and what it led to. numpy only.

Letters: N impressions (rows of the log), R requests, C candidates, A ads. Times count seconds from
`epoch_ms`, the local midnight before the first row.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.scratch import largest, taken
from simulator.traffic.behaviours import Behaviours
from simulator.traffic.trace import DAY_S, EXPERIMENT, PRE, Requests, TraceError


@dataclass(frozen=True)
class Impressions:
    """What was shown, (N,) each, sorted by (time_s, user_id, ad)."""

    request_id: NDArray[np.uint64]  #: rows shown to a user at the same moment share one
    user_id: NDArray[np.uint64]
    time_s: NDArray[np.float64]
    ad: NDArray[np.int32]
    scene: NDArray[np.uint8]
    click: NDArray[np.uint8]
    conversion: NDArray[np.uint8]  #: 1 only where click is 1
    action: NDArray[np.uint8]
    dwell_s: NDArray[np.uint16]
    hour: NDArray[np.float32]  #: local hour of day in [0, 24)
    propensity: NDArray[np.float32]  #: the user's smoothed click rate before the request, a logit
    #: Below: only where the log records it, else None.
    position: NDArray[np.uint8] | None = None  #: on the page, from 0
    logging_propensity: NDArray[np.float64] | None = None  #: P(shown there) under the log's own policy
    bid: NDArray[np.float64] | None = None  #: in the log's money and unit; see the manifest
    price: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.time_s)

    def take(self, rows: NDArray[np.int64]) -> Impressions:
        """Some rows only, ascending."""
        columns: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        some: dict[str, Any] = {n: None if c is None else taken(c, rows) for n, c in columns.items()}
        return Impressions(**some)

    @property
    def day(self) -> NDArray[np.int64]:
        """(N,) time_s // 86400."""
        days: NDArray[np.int64] = np.floor(self.time_s / DAY_S).astype(np.int64)
        return days


@dataclass(frozen=True)
class LogAds:
    """The log's ads, (A,) each; row i is ad i. Advertisers have no bids here: a run draws them."""

    item_id: NDArray[np.uint64]  #: the log's own id, which behaviours carry
    author: NDArray[np.int64]  #: rows of the distinct authors, from 0
    category: NDArray[np.uint16]
    advertiser: NDArray[np.uint16]
    advertisers: int
    departments: tuple[int, ...] = ()  #: of each category, where the log says


@dataclass(frozen=True)
class Split:
    """Days of the log, numbered from its first: training before `holdout`, then these periods.

    training [0, holdout), holdout [holdout, pre), pre-period [pre, experiment), experiment
    [experiment, end).
    """

    holdout: int
    pre: int
    experiment: int
    end: int


MIN_DAYS = 4  #: one each to train, to hold out, to precede and to experiment


def split_days(
    log_days: int, holdout: int | None = None, pre: int | None = None, experiment: int | None = None
) -> Split:
    """Cut a log's days, from its end: a sixth of them each by default, at least one; training gets the rest.

    Args:
        log_days: days of the log.
        holdout, pre, experiment: days of each; None for the default.

    Raises:
        TraceError: too few days, or none is left for training.
    """
    share = max(1, log_days // 6)
    days = share if experiment is None else experiment
    before = share if pre is None else pre
    held = share if holdout is None else holdout
    if log_days - days - before - held < 1:
        raise TraceError(
            f"The log has {log_days} days, of which the experiment takes {days}, the pre-period {before} and "
            f"the held-out log {held}, expected at least one left for training. Use a log of {MIN_DAYS} days "
            "or more, or lower experiment.days, experiment.pre_days or traffic.holdout_days."
        )
    end = log_days
    return Split(end - days - before - held, end - days - before, end - days, end)


@dataclass(frozen=True)
class LogRows:
    """A whole log but its requests and their candidates; see the parts."""

    epoch_ms: int
    days: int
    impressions: Impressions
    ads: LogAds
    behaviours: Behaviours

    @property
    def categories(self) -> int:
        """Category ids, of ads and of behaviours, run from 0 to here."""
        return largest(self.behaviours.category, int(self.ads.category.max())) + 1

    @property
    def scenes(self) -> int:
        """Scene ids, of requests and of behaviours, run from 0 to here."""
        return largest(self.behaviours.scene, largest(self.impressions.scene)) + 1

    @property
    def positions(self) -> int:
        """Positions run from 0 to here; 0 where the log records none."""
        position = self.impressions.position
        return 0 if position is None else largest(position) + 1


@dataclass(frozen=True)
class RealLog(LogRows):
    """A whole log. `requests.period` is that of `split_days` by default."""

    requests: Requests


def request_scenes(impressions: Impressions, requests: Requests) -> NDArray[np.uint8]:
    """(R,) the scene each request came from: that of its first impression.

    Raises:
        TraceError: a request without impressions.
    """
    ids, scenes = impressions.request_id, impressions.scene
    if (ids[1:] < ids[:-1]).any():  # an import numbers requests in the order of their rows
        order = np.argsort(ids, kind="stable")
        ids, scenes = ids[order], scenes[order]
    row = np.minimum(np.searchsorted(ids, requests.request_id), len(ids) - 1)
    if not (ids[row] == requests.request_id).all():
        raise TraceError("A request of the log has no impression, expected one. Import the log anew.")
    return scenes[row]


def periods(day: NDArray[np.int32], split: Split) -> NDArray[np.uint8]:
    """(R,) PRE or EXPERIMENT, of requests on these days; those before the pre-period count as PRE."""
    return np.where(day >= split.experiment, EXPERIMENT, PRE).astype(np.uint8)
