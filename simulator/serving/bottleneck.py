"""Where an arm's servers spend their time, and which of its stages saturates first as load grows.

Two pools of servers: store workers, which hold a request through its read and its transport, and scorers.
The busier pool is the bottleneck; of the store workers' two tasks it is named for the longer. All of it is
read off the timing plane, so it holds for any arm and any source of service times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.serving.arm import ServingArm
from simulator.serving.pipeline import Served
from simulator.serving.predictions import Predictions

F8 = NDArray[np.float64]
P99 = 0.99
# Requests about the P99 whose latency is broken down, as a share of all: one request alone would be luck.
NEIGHBOURS = 0.01


@dataclass(frozen=True)
class ServerLoad:
    """How busy an arm's servers were. Shares are fractions; None where no request was served or scored.

    Attributes:
        requests_per_s: arrivals in a timing-plane second.
        store_workers, scorers, max_batch: the arm's settings.
        store_utilisation, transport_utilisation: share of the store workers' time spent on either.
        scorer_utilisation: share of the scorers' time spent scoring.
        bottleneck: "store", "transport" or "scorer"; None where no server did anything.
        mean_batch: requests of a batch, over batches.
        full_batch_cost: how many times as long as a single request a full batch takes at full history, on
            average; 1 where the requests in it hardly count, the batch size where nothing is shared.
        p99_shares: how the latency at the P99 divides into the `latency_parts`; sums to 1.
    """

    requests_per_s: float | None
    store_workers: int
    scorers: int
    max_batch: int
    store_utilisation: float | None
    transport_utilisation: float | None
    scorer_utilisation: float | None
    bottleneck: str | None
    mean_batch: float | None
    full_batch_cost: float
    p99_shares: dict[str, float] | None


def server_load(
    served: Served, arm: ServingArm, times: Predictions, rows: NDArray[np.int64] | None = None
) -> ServerLoad:
    """How busy the servers were with some requests, and where those spent their time.

    Args:
        served: the arm's timing plane.
        arm: its servers.
        times: what a full batch and a single request take.
        rows: of the trace, a stretch of time without gaps; all by default.
    """
    part = served if rows is None else _rows(served, rows)
    full = arm.full
    cost = [times.expected_score_s(full.model or "", full.history, size) for size in (arm.max_batch, 1)]
    span_s = float(part.completion_s.max() - part.arrival_s.min()) if len(part) else 0.0
    busy = _busy_s(part)
    store, transport, scorer = (
        None if span_s == 0.0 else seconds / (span_s * servers)
        for seconds, servers in zip(busy, (arm.store_workers, arm.store_workers, arm.scorers), strict=True)
    )
    batches = float((1.0 / part.batch[part.batch > 0]).sum())
    return ServerLoad(
        requests_per_s=None if span_s == 0.0 else len(part) / span_s,
        store_workers=arm.store_workers,
        scorers=arm.scorers,
        max_batch=arm.max_batch,
        store_utilisation=store,
        transport_utilisation=transport,
        scorer_utilisation=scorer,
        bottleneck=_busiest(store, transport, scorer),
        mean_batch=float((part.batch > 0).sum()) / batches if batches else None,
        full_batch_cost=cost[0] / cost[1] if cost[1] > 0.0 else 1.0,
        p99_shares=_shares_at(part),
    )


def latency_parts(served: Served) -> dict[str, F8]:
    """Each request's latency, broken down: by part (R,) seconds that add up to it.

    Who was answered by the prior order has waited until then in the queue where it was.
    """
    unread, unscored = np.isnan(served.store_start_s), np.isnan(served.score_start_s)
    read_at = np.where(unread, served.completion_s, served.store_start_s)
    ready_at = np.where(unread, served.completion_s, served.transport_end_s)
    scored_at = np.where(unscored, served.completion_s, served.score_start_s)
    return {
        "store_queueing": read_at - served.arrival_s,
        "store_service": _service_s(served, "store"),
        "transport_service": _service_s(served, "transport"),
        "scorer_queueing": scored_at - ready_at,
        "scorer_service": _service_s(served, "score"),
    }


def _service_s(served: Served, stage: str) -> F8:
    """(R,) seconds of work in a stage; 0 where it did not happen."""
    spent: F8 = np.nan_to_num(getattr(served, f"{stage}_end_s") - getattr(served, f"{stage}_start_s"))
    served.let_go()
    return spent


def _rows(served: Served, rows: NDArray[np.int64]) -> Served:
    # A stretch of time is a slice: nothing is copied.
    whole = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
    part = slice(rows[0], rows[-1] + 1) if whole else rows
    return _taken(served, part)


def _taken(served: Served, rows: NDArray[np.int64] | slice) -> Served:
    columns = {}
    for name, column in vars(served).items():
        columns[name] = column[rows]
        served.let_go()
    return Served(**columns)


def _busy_s(served: Served) -> tuple[float, float, float]:
    """Seconds of reading, transport and scoring; a batch is one scorer's work, however many it holds."""
    reading, transport = (float(_service_s(served, stage).sum()) for stage in ("store", "transport"))
    scoring = _service_s(served, "score") / np.maximum(served.batch, 1)
    return reading, transport, float(scoring.sum())


def _busiest(store: float | None, transport: float | None, scorer: float | None) -> str | None:
    if store is None or transport is None or scorer is None or store + transport + scorer == 0.0:
        return None
    if scorer >= store + transport:
        return "scorer"
    return "store" if store >= transport else "transport"


def _shares_at(served: Served) -> dict[str, float] | None:
    """How the latency of the requests about the P99 divides into the parts."""
    latency_s = served.latency_s
    served.let_go()
    if len(latency_s) == 0:
        return None
    last = len(latency_s) - 1
    reach = max(1.0, NEIGHBOURS * last / 2.0)
    first, end = max(0, round(P99 * last - reach)), min(last, round(P99 * last + reach)) + 1
    # Only the slowest need an order, as a stable sort of all would give it.
    slow = np.flatnonzero(latency_s >= np.partition(latency_s, first)[first])
    shorter = len(latency_s) - len(slow)
    about = slow[np.argsort(latency_s[slow], kind="stable")][first - shorter : end - shorter]
    whole = float(latency_s[about].sum())
    if not whole > 0.0:
        return None
    return {name: float(part.sum()) / whole for name, part in latency_parts(_taken(served, about)).items()}
