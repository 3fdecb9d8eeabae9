"""Item-level rates from the training log: the prior order's CTR, and the pCVR all arms share.

A rate of few trials is pulled towards the mean of all items, as far as the spread between items
warrants: the posterior mean under a Beta prior fitted by moments.

Source: Kleinman, "Proportions with extraneous variance", JASA 68 (1973).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.errors import SimulatorError
from simulator.traffic.log import LogImpressions


def item_ctr(log: LogImpressions, ads: int) -> NDArray[np.float64]:
    """Smoothed click rate of each ad, f8 (ads,), in (0, 1), from the training split alone.

    Raises:
        SimulatorError: the training split is empty, or names an ad >= ads.
    """
    ad, click = _training(log, "ad", "click")
    shown = _known(ad, ads)
    return smoothed_rates(np.bincount(shown, weights=click, minlength=ads), np.bincount(shown, minlength=ads))


def top_slot_factor(log: LogImpressions) -> float:
    """Click rate of the training log's top position over that of all its positions.

    An item's CTR is taken over the positions it was shown at; a page is scored for its top slot.

    Raises:
        SimulatorError: the training split is empty.
    """
    position, click = _training(log, "position", "click")
    top = position == 0
    # Half a click more keeps both rates above 0 in a small log.
    return float((click[top].sum() + 0.5) / (top.sum() + 1.0) / ((click.sum() + 0.5) / (click.size + 1.0)))


def slot_weights(log: LogImpressions, slots: int) -> tuple[float, ...]:
    """Click rate of the training log by position, over the top one's: what a market knows of its slots.

    Made never to rise from a slot to the next, as a page is read from the top; a slot beyond the log's last
    position has the last one's. In a log whose positions a ranker chose, its choice is in them.

    Args:
        slots: how many are asked for, >= 1.

    Raises:
        SimulatorError: the training split is empty.
    """
    position, click = _training(log, "position", "click")
    shown = np.bincount(position)
    # Half a click more keeps every rate above 0 in a small log.
    rate = (np.bincount(position, click) + 0.5) / (shown + 1.0)
    rate = np.minimum.accumulate(np.where(shown > 0, rate, 1.0))
    return tuple(map(float, rate[:slots] / rate[0]))


def item_cvr(log: LogImpressions, ads: int) -> NDArray[np.float64]:
    """Smoothed conversion rate per click of each ad, f8 (ads,), in (0, 1), from the training split alone.

    Raises:
        SimulatorError: as `item_ctr`.
    """
    ad, click, conversion = _training(log, "ad", "click", "conversion")
    shown = _known(ad, ads)
    return smoothed_rates(
        np.bincount(shown, weights=conversion, minlength=ads),
        np.bincount(shown, weights=click, minlength=ads),
    )


def _training(log: LogImpressions, *columns: str) -> list[NDArray[Any]]:
    """Columns of the training split, a row an ad that was shown."""
    rows = log.rows("train")
    if len(rows) == 0:
        raise SimulatorError(
            "The log has no training requests, expected some. Raise log_days or log_requests."
        )
    shown = log.shown[rows]
    return [getattr(log, name)[rows][shown] for name in columns]


def _known(ad: NDArray[Any], ads: int) -> NDArray[Any]:
    if int(ad.max()) >= ads:
        raise ValueError(f"The log shows ad {int(ad.max())}, but only {ads} ads are known. Raise ads.")
    return ad


def smoothed_rates(successes: ArrayLike, trials: ArrayLike) -> NDArray[np.float64]:
    """Posterior mean success rates (I,) of items under a Beta prior fitted to all of them.

    Args:
        successes: (I,), each in [0, trials].
        trials: (I,); an item without trials gets the overall rate.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    total = n.sum()
    # Half a success and half a failure more keep the overall rate inside (0, 1).
    mean = (k.sum() + 0.5) / (total + 1.0)
    seen = n > 0
    items = int(seen.sum())
    correlation = 0.0
    if items > 1:
        spread = float((n[seen] * (k[seen] / n[seen] - mean) ** 2).sum()) / (mean * (1.0 - mean))
        room = total - float((n**2).sum()) / total - (items - 1)
        correlation = (spread - (items - 1)) / room if room > 0 else 0.0
    if correlation <= 0.0:  # the items differ no more than chance makes them
        return np.full(len(n), mean)
    strength = max(1.0 / min(correlation, 1.0) - 1.0, 1e-6)
    rates: NDArray[np.float64] = (k + strength * mean) / (n + strength)
    return rates
