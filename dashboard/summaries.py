"""The latency page's numbers from the `served` table: arrays in, small data frames out.

Percentiles count every request, late ones included. Their intervals are the scorecard's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dashboard.served import Floats, Part, Spent, parts_by_arm

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
STEP = 0.01  # between the percentiles that can be asked for
BINS = 60
HEAT_BINS = 36  # of latency, in the heat map
SLOWEST = 10  # requests of an arm
PRIOR = "prior"  # the ladder step that no server works for
LOW_BINS = BINS // 10  # the far left of a histogram
HOUR_S, DAY_S = 3600, 86_400

COLUMNS = (
    "arm",
    "assigned",
    "period",
    "request_id",
    "arrival_s",
    "history_used",
    "step",
    "step_name",
    "missed",
    "store_start_ms",
    "store_end_ms",
    "transport_start_ms",
    "transport_end_ms",
    "score_start_ms",
    "score_end_ms",
    "latency_ms",
)

# (stage, column it starts at, column it ends at, whether it is waiting); None: the arrival.
STAGES: tuple[tuple[str, str | None, str, bool], ...] = (
    ("store queue", None, "store_start_ms", True),
    ("store read", "store_start_ms", "store_end_ms", False),
    ("transport", "store_end_ms", "transport_end_ms", False),
    ("scorer queue", "transport_end_ms", "score_start_ms", True),
    ("scoring", "score_start_ms", "score_end_ms", False),
)
# How a ladder step's requests are counted in a part of the table, and the parts' figures put together.
_OF_STEP = {
    ("missed", "count"): "sum",
    ("missed", "sum"): "sum",
    ("latency_ms", "min"): "min",
    ("latency_ms", "max"): "max",
    ("at_left", "sum"): "sum",
}
_STEP_COLUMNS = {"latency_ms_min": "low_ms", "latency_ms_max": "high_ms", "at_left_sum": "at_left"}
_COUNTED = ("arrival_s", "latency_ms", "step", "step_name", "missed", *(ends for *_, ends, _ in STAGES))


@dataclass(frozen=True)
class LatencySummary:
    """Latency of the chosen requests, one block of rows per arm.

    Attributes:
        requests: {arm: number of requests}.
        percentiles: arm, percentile, ms.
        bins: arm, low_ms, high_ms, share, cumulative; logarithmic, the same for all arms.
        stages: arm, stage, waiting, start_ms, end_ms (means laid end to end), mean_ms, p99_ms.
        ladder: arm, step, step_name, share, missed_share, requests, low_ms and high_ms (the least and the
            largest latency), at_left (requests in the LOW_BINS).
        quantiles: {arm: latency at every STEP from the 0th to the 100th percentile}.
        heat: arm, hour (of the day, log time), low_ms, high_ms, share (of the hour's requests), requests (of
            the hour).
        slowest: the SLOWEST requests of each arm, the columns of `served` and its latency.
    """

    requests: dict[str, int]
    percentiles: pd.DataFrame
    bins: pd.DataFrame
    stages: pd.DataFrame
    ladder: pd.DataFrame
    quantiles: dict[str, Floats]
    heat: pd.DataFrame
    slowest: pd.DataFrame

    def percentile(self, arm: str, percentile: float) -> float | None:
        """An arm's latency at a percentile, a multiple of STEP; None where it has no request."""
        values = self.quantiles[arm]
        return float(values[round(percentile / STEP)]) if len(values) else None

    def above(self, arm: str, percentile: float) -> int:
        """How many of an arm's requests lie above that: of few, chance says where it is."""
        last = self.requests[arm] - 1
        return max(0, last - math.floor(last * percentile / 100))

    @property
    def step_names(self) -> tuple[str, ...]:
        """Of the ladder steps, best first; the same name may be another step in another arm."""
        return tuple(self.ladder.groupby("step_name")["step"].max().sort_values(kind="stable").index)


def summarise(served: pq.ParquetFile, *, assigned: bool) -> LatencySummary:
    """Summarise the experiment period, holding one arm's latencies at a time, of other columns a row group.

    Args:
        served: the served table.
        assigned: only requests the A/B gave to the arm; else the whole trace under each arm.
    """
    parts = parts_by_arm(served, assigned=assigned)
    latencies = {arm: _latency(own) for arm, own in parts.items()}
    ends_ms = [found.ends_ms for found in latencies.values() if found.ends_ms is not None]
    tallies = {arm: _Tally(own, ends_ms, latencies[arm].slow_ms) for arm, own in parts.items()}
    return LatencySummary(
        requests={arm: sum(map(len, own)) for arm, own in parts.items()},
        percentiles=_percentiles(latencies),
        bins=_stacked([tally.bins(arm) for arm, tally in tallies.items()]),
        stages=_stacked([tally.stages(arm) for arm, tally in tallies.items()]),
        ladder=_stacked([tally.ladder(arm) for arm, tally in tallies.items()]),
        quantiles={arm: found.quantiles for arm, found in latencies.items()},
        heat=_stacked([tally.heat(arm) for arm, tally in tallies.items()]),
        slowest=_stacked([tally.slowest() for tally in tallies.values()]),
    )


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    some = [frame for frame in frames if len(frame)]
    return pd.concat(some) if some else frames[0] if frames else pd.DataFrame()


@dataclass(frozen=True)
class _Latency:
    """What is kept of an arm's latencies.

    Attributes:
        quantiles: as in `LatencySummary`.
        ends_ms: the least and the most above 0; None where no request took any time.
        slow_ms: that of the last of the SLOWEST.
    """

    quantiles: Floats
    ends_ms: tuple[float, float] | None = None
    slow_ms: float = 0.0


def _latency(parts: Sequence[Part]) -> _Latency:
    values, n = np.empty(sum(map(len, parts))), 0
    if len(values) == 0:
        return _Latency(values)
    for part in parts:
        values[n : n + len(part)] = part.read(["latency_ms"])["latency_ms"].to_numpy()
        n += len(part)
    values.sort()  # once, for all that is asked
    slow_ms = float(values[-SLOWEST:][0])
    above = values[np.searchsorted(values, 0.0, side="right") :]
    ends_ms = (float(above[0]), float(above[-1])) if len(above) else None
    at = np.linspace(0, 100, round(100 / STEP) + 1)
    return _Latency(np.percentile(values, at, overwrite_input=True), ends_ms, slow_ms)


def _percentiles(latencies: Mapping[str, _Latency]) -> pd.DataFrame:
    rows = [
        {"arm": arm, "percentile": percentile, "ms": float(found.quantiles[round(percentile / STEP)])}
        for arm, found in latencies.items()
        for percentile in (PERCENTILES if len(found.quantiles) else ())
    ]
    return pd.DataFrame(rows, columns=["arm", "percentile", "ms"])


class _Tally:
    """One arm's requests, counted in one pass."""

    def __init__(self, parts: Sequence[Part], ends_ms: Sequence[tuple[float, float]], slow_ms: float) -> None:
        """Count.

        Args:
            parts: the arm's.
            ends_ms: of every arm's latencies: all arms have the same bins, or none where no time was spent.
            slow_ms: no request below is among the slowest.
        """
        self._edges, self._heat_edges = _edges(ends_ms, BINS), _edges(ends_ms, HEAT_BINS)
        self._of_bin = np.zeros(BINS, np.int64)
        self._of_hour = np.zeros((24, HEAT_BINS), np.int64)
        requests = sum(map(len, parts))
        self._spent = {stage: Spent(requests) for stage, *_ in STAGES}
        self._steps: list[pd.DataFrame] = []
        self._slowest: list[pd.DataFrame] = []
        for part in parts:
            counted = part.read(_COUNTED)
            self._count(counted)
            slow = np.flatnonzero(counted["latency_ms"].to_numpy() >= slow_ms)
            if len(slow):
                self._slowest.append(part.read(COLUMNS).take(slow).to_pandas())

    def _count(self, part: pa.Table) -> None:
        latency_ms = part["latency_ms"].to_numpy()
        at_left = np.zeros(len(latency_ms), np.int64)
        if self._edges is not None and self._heat_edges is not None:
            bins = _bin(latency_ms, self._edges)
            self._of_bin += np.bincount(bins, minlength=BINS)
            at_left += bins < LOW_BINS
            hour = ((part["arrival_s"].to_numpy() % DAY_S) // HOUR_S).astype(np.int64)
            place = hour * HEAT_BINS + _bin(latency_ms, self._heat_edges)
            self._of_hour += np.bincount(place, minlength=self._of_hour.size).reshape(self._of_hour.shape)
        for stage, begins, ends, _ in STAGES:
            start = part[begins].to_numpy() if begins else 0.0
            self._spent[stage].add(part[ends].to_numpy() - start)
        steps = part.select(["step", "step_name", "missed", "latency_ms"]).append_column("at_left", [at_left])
        totals = steps.group_by(["step", "step_name"]).aggregate(list(_OF_STEP))
        self._steps.append(totals.to_pandas().astype({"step_name": str}))

    def bins(self, arm: str) -> pd.DataFrame:
        """Its rows of `LatencySummary.bins`."""
        names = ["arm", "low_ms", "high_ms", "share", "cumulative"]
        if self._edges is None:
            return pd.DataFrame(columns=names)
        share = self._of_bin / max(1, self._of_bin.sum())
        columns = (arm, self._edges[:-1], self._edges[1:], share, np.cumsum(share))
        return pd.DataFrame(dict(zip(names, columns, strict=True)))

    def heat(self, arm: str) -> pd.DataFrame:
        """Of `heat`: by hour of the day, how its requests' latencies are spread."""
        names = ["arm", "hour", "low_ms", "high_ms", "share", "requests"]
        if self._heat_edges is None:
            return pd.DataFrame(columns=names)
        edges, of_hour = self._heat_edges, self._of_hour.sum(axis=1)
        hours, bins = np.nonzero(self._of_hour)
        share = self._of_hour[hours, bins] / of_hour[hours]
        columns = (arm, hours, edges[bins], edges[bins + 1], share, of_hour[hours])
        return pd.DataFrame(dict(zip(names, columns, strict=True)))

    def stages(self, arm: str) -> pd.DataFrame:
        """Of `stages`."""
        rows, start = [], 0.0
        for stage, _, _, waiting in STAGES:
            spent = self._spent[stage]
            if spent.n == 0:
                continue
            end = start + spent.mean
            rows.append(
                {"arm": arm, "stage": stage, "waiting": waiting, "start_ms": start, "end_ms": end}
                | {"mean_ms": spent.mean, "p99_ms": spent.p99}
            )
            start = end
        names = ["arm", "stage", "waiting", "start_ms", "end_ms", "mean_ms", "p99_ms"]
        return pd.DataFrame(rows, columns=names)

    def ladder(self, arm: str) -> pd.DataFrame:
        """Of `ladder`."""
        names = ["arm", "step", "step_name", "share", "missed_share", "requests", *_STEP_COLUMNS.values()]
        if not self._steps:
            return pd.DataFrame(columns=names)
        together = {f"{column}_{how}": whole for (column, how), whole in _OF_STEP.items()}
        steps = pd.concat(self._steps).groupby(["step", "step_name"], as_index=False).agg(together)
        steps = steps.rename(columns=_STEP_COLUMNS)
        requests, missed = steps["missed_count"], steps["missed_sum"]
        shares = {"share": requests / requests.sum(), "missed_share": missed / requests}
        return steps.assign(arm=arm, requests=requests, **shares)[names]

    def slowest(self) -> pd.DataFrame:
        """Of `slowest`; of equal latencies the first in the table."""
        if not self._slowest:
            return pd.DataFrame(columns=list(COLUMNS))
        return pd.concat(self._slowest).nlargest(SLOWEST, "latency_ms")


def _edges(ends_ms: Sequence[tuple[float, float]], bins: int) -> Floats | None:
    """Of logarithmic bins that hold all latencies above 0; None where there are none."""
    if not ends_ms:
        return None
    low, high = min(low for low, _ in ends_ms), max(high for _, high in ends_ms)
    edges: Floats = np.geomspace(low * 0.999, high * 1.001, bins + 1)
    return edges


def _bin(latency_ms: Floats, edges: Floats) -> NDArray[np.int64]:
    """The bin of each latency; one of 0 ms counts in the first, so that shares add up to one."""
    return np.clip(np.searchsorted(edges, latency_ms, side="right") - 1, 0, len(edges) - 2)


def lost_shares(ladder: pd.DataFrame, arms: Sequence[str]) -> dict[str, tuple[float, float]]:
    """{arm: (share degraded, share missed)}; degraded is any step below the first."""
    shares = {}
    for arm in arms:
        steps = ladder[ladder["arm"] == arm]
        degraded = float(steps.loc[steps["step"] > 0, "share"].sum())
        shares[arm] = (degraded, float((steps["share"] * steps["missed_share"]).sum()))
    return shares


def stages_of(request: Mapping[Any, Any]) -> pd.DataFrame:
    """One request's stages, as rows of `LatencySummary.stages`; those that did not happen are left out."""
    rows = []
    for stage, begins, ends, waiting in STAGES:
        start, end = request[begins] if begins else 0.0, request[ends]
        if not (pd.isna(start) or pd.isna(end)):
            spent = end - start
            rows.append(
                {"arm": request["arm"], "stage": stage, "waiting": waiting, "start_ms": start, "end_ms": end}
                | {"mean_ms": spent, "p99_ms": spent}
            )
    return pd.DataFrame(rows)
