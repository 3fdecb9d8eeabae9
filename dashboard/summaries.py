"""The latency page's numbers from the `served` table: arrays in, small data frames out.

Percentiles count every request, late ones included. Their intervals are the scorecard's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
STEP = 0.01  # between the percentiles that can be asked for
BINS = 60
HEAT_BINS = 36  # of latency, in the heat map
SLOWEST = 10  # requests of an arm
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


@dataclass(frozen=True)
class LatencySummary:
    """Latency of the chosen requests, one block of rows per arm.

    Attributes:
        requests: {arm: number of requests}.
        percentiles: arm, percentile, ms.
        bins: arm, low_ms, high_ms, share, cumulative; logarithmic, the same for all arms.
        stages: arm, stage, waiting, start_ms, end_ms (means laid end to end), mean_ms, p99_ms.
        ladder: arm, step, step_name, share, missed_share, requests.
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


def summarise(served: pa.Table, *, assigned: bool) -> LatencySummary:
    """Summarise the experiment period.

    Args:
        served: COLUMNS of the served table.
        assigned: only requests the A/B gave to the arm; else the whole trace under each arm.
    """
    frames = dict(_by_arm(served, assigned))
    latencies = {arm: frame["latency_ms"].to_numpy() for arm, frame in frames.items()}
    return LatencySummary(
        requests={arm: len(frame) for arm, frame in frames.items()},
        percentiles=_stacked([_percentiles(arm, values) for arm, values in latencies.items()]),
        bins=_bins(latencies),
        stages=_stacked([_stages(arm, frame) for arm, frame in frames.items()]),
        ladder=_stacked([_ladder(arm, frame) for arm, frame in frames.items()]),
        quantiles={arm: _quantiles(values) for arm, values in latencies.items()},
        heat=_heat(frames),
        slowest=_stacked([frame.nlargest(SLOWEST, "latency_ms") for frame in frames.values()]),
    )


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames) if frames else pd.DataFrame()


def _by_arm(served: pa.Table, assigned: bool) -> Iterator[tuple[str, pd.DataFrame]]:
    frame = served.to_pandas()
    arms = list(dict.fromkeys(frame["arm"]))
    frame = frame[frame["period"] == "experiment"]
    if assigned:
        frame = frame[frame["assigned"]]
    for arm in arms:
        yield str(arm), frame[frame["arm"] == arm]


def _percentiles(arm: str, latency_ms: Floats) -> pd.DataFrame:
    rows = []
    for percentile in PERCENTILES:
        if len(latency_ms) == 0:
            continue
        value = float(np.percentile(latency_ms, percentile))
        rows.append({"arm": arm, "percentile": percentile, "ms": value})
    return pd.DataFrame(rows, columns=["arm", "percentile", "ms"])


def _quantiles(latency_ms: Floats) -> Floats:
    if len(latency_ms) == 0:
        return latency_ms
    found: Floats = np.percentile(latency_ms, np.linspace(0, 100, round(100 / STEP) + 1))
    return found


def _heat(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """By hour of the day, how its requests' latencies are spread; the same bins for all arms."""
    names = ["arm", "hour", "low_ms", "high_ms", "share", "requests"]
    edges = _edges({arm: frame["latency_ms"].to_numpy() for arm, frame in frames.items()}, HEAT_BINS)
    if edges is None:
        return pd.DataFrame(columns=names)
    parts = []
    for arm, frame in frames.items():
        hour = (frame["arrival_s"].to_numpy() % DAY_S) // HOUR_S
        latency_ms = np.clip(frame["latency_ms"].to_numpy(), edges[0], edges[-1])
        counts, _, _ = np.histogram2d(hour, latency_ms, [np.arange(25), edges])
        of_hour = counts.sum(axis=1)
        hours, bins = np.nonzero(counts)
        share = counts[hours, bins] / of_hour[hours]
        columns = (arm, hours, edges[bins], edges[bins + 1], share, of_hour[hours])
        parts.append(pd.DataFrame(dict(zip(names, columns, strict=True))))
    return pd.concat(parts)


def _edges(latencies: dict[str, Floats], bins: int) -> Floats | None:
    """Of logarithmic bins that hold every arm's latencies; None where no request took any time."""
    some = [values[values > 0] for values in latencies.values() if (values > 0).any()]
    if not some:
        return None
    low, high = min(float(v.min()) for v in some), max(float(v.max()) for v in some)
    edges: Floats = np.geomspace(low * 0.999, high * 1.001, bins + 1)
    return edges


def _bins(latencies: dict[str, Floats]) -> pd.DataFrame:
    names = ["arm", "low_ms", "high_ms", "share", "cumulative"]
    edges = _edges(latencies, BINS)
    if edges is None:
        return pd.DataFrame(columns=names)
    frames = []
    for arm, values in latencies.items():
        # Clipped, so that a latency of 0 ms counts in the first bin and shares add up to one.
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        share = counts / max(1, len(values))
        columns = (arm, edges[:-1], edges[1:], share, np.cumsum(share))
        frames.append(pd.DataFrame(dict(zip(names, columns, strict=True))))
    return pd.concat(frames)


def _stages(arm: str, frame: pd.DataFrame) -> pd.DataFrame:
    rows, start = [], 0.0
    for stage, begins, ends, waiting in STAGES:
        spent = frame[ends] - (frame[begins] if begins else 0.0)
        spent = spent[spent.notna()]
        if len(spent) == 0:
            continue
        mean = float(spent.mean())
        p99 = float(np.percentile(spent, 99))
        end = start + mean
        rows.append(
            {"arm": arm, "stage": stage, "waiting": waiting, "start_ms": start, "end_ms": end}
            | {"mean_ms": mean, "p99_ms": p99}
        )
        start = end
    names = ["arm", "stage", "waiting", "start_ms", "end_ms", "mean_ms", "p99_ms"]
    return pd.DataFrame(rows, columns=names)


def _ladder(arm: str, frame: pd.DataFrame) -> pd.DataFrame:
    names = ["arm", "step", "step_name", "share", "missed_share", "requests"]
    if len(frame) == 0:
        return pd.DataFrame(columns=names)
    grouped = frame.groupby(["step", "step_name"], observed=True, sort=True)["missed"]
    steps = grouped.agg(["size", "mean"]).reset_index()
    steps.columns = pd.Index(["step", "step_name", "requests", "missed_share"])
    steps["step_name"] = steps["step_name"].astype(str)
    steps["share"] = steps["requests"] / len(frame)
    steps["arm"] = arm
    return steps[names]


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
