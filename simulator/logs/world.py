"""An experiment's world from a log folder: `load_log_world`.

Rankers train on the log's first days, are calibrated on the held-out days after them, and the trace is what
follows: the pre-period, then the experiment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.logs.folder import read_log
from simulator.logs.real_log import Impressions, LogAds, RealLog, Split, periods, request_scenes
from simulator.traffic.behaviours import ACTIONS
from simulator.traffic.log import HOLDOUT, TRAIN, LogImpressions
from simulator.traffic.trace import EXPERIMENT, PRE, Requests, TraceError
from simulator.world.catalogue import Catalogue
from simulator.world.fitted import TCPA_MEDIAN, LogWorld, draw_tcpa
from simulator.world.protocol import Sizes

#: Ads of a logged request that models learn from together: all requests take as many places as the widest.
WIDEST = 64


def load_log_world(folder: Path, seed: int, split: Split, slots: int = 1) -> LogWorld:
    """Read a log folder as a world.

    Args:
        folder: made by `laser-ab import`.
        seed: draws the advertisers' tCPA where the log has no bids; everything else is the log's.
        split: the log's days.
        slots: ads per page.

    Raises:
        TraceError: no finished log folder, damaged files, or a period without requests or clicks.
    """
    log, response = read_log(folder)
    requests = _trace(log, split, slots)
    _check_periods(log, requests, split)
    advertiser_tcpa = _tcpa(log, seed)
    return LogWorld(
        sizes=Sizes(
            log.categories, len(log.ads.item_id), log.scenes, ACTIONS, log.ads.departments[: log.categories]
        ),
        catalogue=_catalogue(log.ads, advertiser_tcpa),
        requests=requests,
        log=log_impressions(log, split),
        behaviours=log.behaviours,
        scene=request_scenes(log.impressions, requests),
        author=log.ads.author,
        truth=response,
    )


def _tcpa(log: RealLog, seed: int) -> NDArray[np.float64]:
    """(advertisers,) tCPA: drawn, or in proportion to an advertiser's mean bid where the log records bids.

    A bid may be for an impression, a click or a conversion, in any money, so the median advertiser's tCPA is
    that of the draws. Advertisers without a bid above 0 keep what was drawn.
    """
    drawn = draw_tcpa(seed, log.ads.advertisers)
    bid = log.impressions.bid
    if bid is None:
        return drawn
    known = np.isfinite(bid) & (bid > 0)
    advertiser = log.ads.advertiser[log.impressions.ad[known]]
    count = np.bincount(advertiser, minlength=len(drawn))
    mean = np.bincount(advertiser, bid[known], len(drawn)) / np.maximum(count, 1)
    level = TCPA_MEDIAN / np.median(mean[count > 0]) if known.any() else 1.0
    return np.where(count > 0, level * mean, drawn)


def _trace(log: RealLog, split: Split, slots: int) -> Requests:
    everything = log.requests
    width = everything.candidates.shape[1]
    if not 1 <= slots <= width:
        raise TraceError(
            f"market.slots is {slots}, expected 1 to {width}, the log's candidates. Lower market.slots."
        )
    # Requests are sorted by time: those of the trace are a slice, whose candidates stay in their file.
    kept = everything.take(slice(*np.searchsorted(everything.day, (split.pre, split.end)).tolist()))
    changed = {"slots": np.full(len(kept), slots, np.uint8), "period": periods(kept.day, split)}
    return Requests(**{**vars(kept), **changed})


def _check_periods(log: RealLog, requests: Requests, split: Split) -> None:
    day, click = log.impressions.day, log.impressions.click
    parts = {
        "training": (day < split.holdout).nonzero()[0],
        "held-out": ((day >= split.holdout) & (day < split.pre)).nonzero()[0],
    }
    for name, rows in parts.items():
        if len(rows) == 0 or click[rows].min() == click[rows].max():
            raise TraceError(
                f"The {name} days of the log have {len(rows)} impressions, {int(click[rows].sum())} of them "
                "clicked, expected some of both kinds. Move experiment.days, experiment.pre_days or "
                "traffic.holdout_days."
            )
    for period, name in ((PRE, "pre-period"), (EXPERIMENT, "experiment")):
        if not (requests.period == period).any() and (period == EXPERIMENT or split.pre < split.experiment):
            raise TraceError(
                f"The log has no request in the {name}, expected some. "
                "Move experiment.days or experiment.pre_days."
            )


def _catalogue(ads: LogAds, advertiser_tcpa: Any) -> Catalogue:
    return Catalogue(
        np.arange(len(ads.item_id), dtype=np.uint64),
        ads.category,
        ads.advertiser,
        advertiser_tcpa[ads.advertiser],
        advertiser_tcpa,
    )


def log_impressions(log: RealLog, split: Split) -> LogImpressions:
    """What rankers learn from: the days before the pre-period, the ads of a request side by side.

    A history is read once for all of them. A request of more than WIDEST rows becomes several.
    """
    shown: Impressions = log.impressions.take(np.flatnonzero(log.impressions.day < split.pre))
    # Rows of a request lie together: `convert` has them so.
    first = np.r_[True, shown.request_id[1:] != shown.request_id[:-1]][: len(shown)]
    start = np.flatnonzero(first)
    rank = np.arange(len(shown)) - np.repeat(start, np.diff(np.append(start, len(shown))))
    begins = np.flatnonzero(rank % WIDEST == 0)
    row, place = np.cumsum(rank % WIDEST == 0) - 1, rank % WIDEST
    shape = len(begins), int(place.max(initial=0)) + 1

    def wide(values: NDArray[Any], dtype: Any, gap: int = 0) -> NDArray[Any]:
        out = np.full(shape, gap, dtype)
        out[row, place] = values
        return out

    position = np.zeros(len(shown)) if shown.position is None else shown.position
    return LogImpressions(
        request_id=np.arange(len(begins), dtype=np.uint64),
        time_s=shown.time_s[begins],
        user_id=shown.user_id[begins],
        hour=shown.hour[begins],
        propensity=shown.propensity[begins],
        split=np.where(shown.day[begins] >= split.holdout, HOLDOUT, TRAIN).astype(np.uint8),
        ad=wide(shown.ad, np.int32, -1),
        ad_category=wide(log.ads.category[shown.ad], np.uint16),
        position=wide(position, np.int8),
        click=wide(shown.click, np.uint8),
        conversion=wide(shown.conversion, np.uint8),
    )
