"""Log time: the timeline's periods, and the warp that gives session starts their daily curve.

The clock counts seconds from the trace's epoch, a local midnight, so hour of day is
`time % 86400 / 3600` and day is `time // 86400`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.world.config import WorldConfig

DAY_S = 86_400.0

#: Share of a day's behaviours by local hour, per cent (KuaiRand-Pure, UTC+8).
DAILY_CURVE = np.array([
    3.5, 2.1, 1.4, 0.9, 0.8, 1.0, 1.9, 2.7, 3.3, 3.8, 4.3, 4.9,
    5.7, 5.4, 4.8, 5.0, 5.4, 6.1, 5.7, 5.8, 6.2, 6.8, 6.6, 5.9,
])  # fmt: skip


@dataclass(frozen=True)
class Timeline:
    """Where each period begins, in seconds from the epoch; each is a midnight.

    history [0, log), log for training [log, holdout), log for holdout [holdout, pre),
    pre-period [pre, experiment), experiment [experiment, end).
    """

    log_start_s: float
    holdout_start_s: float
    pre_start_s: float
    experiment_start_s: float
    end_s: float

    @classmethod
    def of(cls, config: WorldConfig) -> Timeline:
        """The timeline of a configuration."""
        days = np.cumsum(
            [config.history_span_days, config.log_days, config.holdout_days, config.pre_days, config.days]
        )
        return cls(*(float(d * DAY_S) for d in days))


@dataclass(frozen=True)
class Warp:
    """A monotone map from even time to log time, the identity at every midnight.

    Session starts are first drawn in even time, then moved: a process of constant rate becomes one
    whose rate follows the daily curve and the bursts. A burst takes its share from its own day.
    """

    even_s: NDArray[np.float64]
    log_s: NDArray[np.float64]

    @classmethod
    def of(cls, config: WorldConfig) -> Warp:
        """The warp for a configuration's daily curve and bursts."""
        timeline = Timeline.of(config)
        days = round(timeline.end_s / DAY_S)
        plain_edges = np.arange(25) * 3600.0
        plain_cdf = np.concatenate([[0.0], np.cumsum(DAILY_CURVE)]) / DAILY_CURVE.sum() * DAY_S
        first = round(timeline.pre_start_s / DAY_S)
        special = {first + day for day, *_ in config.bursts if 0 <= first + day < days}
        log_parts, even_parts = [], []
        for day in range(days):
            edges, cdf = plain_edges, plain_cdf
            if day in special:
                edges, cdf = _burst_day([b for b in config.bursts if first + b[0] == day])
            log_parts.append(day * DAY_S + edges[:-1])
            even_parts.append(day * DAY_S + cdf[:-1])
        end = np.array([timeline.end_s])
        return cls(np.concatenate([*even_parts, end]), np.concatenate([*log_parts, end]))

    def __call__(self, even_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log time of moments in even time; times after the last midnight are clipped to it."""
        return np.interp(even_s, self.even_s, self.log_s)


def _burst_day(
    bursts: list[tuple[int, float, float, float]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges (s) and even time (s) of a day with bursts: rates multiplied, then the day renormalised."""
    ends = [(b[1] * 3600.0, b[1] * 3600.0 + b[2] * 60.0, b[3]) for b in bursts]
    edges = np.unique(np.concatenate([np.arange(25) * 3600.0, *[[s, e] for s, e, _ in ends]]))
    middle = (edges[1:] + edges[:-1]) / 2
    rate = DAILY_CURVE[(middle // 3600).astype(np.int64)]
    for start, end, factor in ends:
        rate = np.where((middle >= start) & (middle < end), rate * factor, rate)
    cdf = np.concatenate([[0.0], np.cumsum(rate * np.diff(edges))])
    return edges, cdf / cdf[-1] * DAY_S


def hour_of_day(time_s: NDArray[np.float64]) -> NDArray[np.float32]:
    """Local hour in [0, 24) of log times."""
    # float32 rounds 23.99999999 up to 24.
    hours: NDArray[np.float32] = np.minimum(time_s % DAY_S / 3600.0, 23.999).astype(np.float32)
    return hours
