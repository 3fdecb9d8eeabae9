"""What keeping summaries costs an arm's timing plane: the profile as such an arm meets it.

A request reads the user's summary from the store, as many bytes as it has, and is scored from it. If it is
the first to read it, it makes it before: it reads the whole history, moves it and runs the summariser, all
charged to the scorer. Both parts were measured on their own (`MODEL;read`, `MODEL;build` of a profile); here
they are put together into one spread for each (candidates, batch), in which as many requests make a summary
as in the trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laser.models import build_model
from simulator.arms.arm import SUMMARY_PARTS, Arm
from simulator.arms.histories.asked import MODEL_COLUMNS
from simulator.arms.models import model_config
from simulator.arms.plan import Plan
from simulator.arms.summaries import Refreshes, refreshes_of
from simulator.draws import uniform
from simulator.serving.grid import Grid
from simulator.serving.profile import Samples, ServiceProfile

_SAMPLES = 400  # of a spread that is put together
_BUILDS = 500  # refreshes whose cost is looked up, spread over the trace


@dataclass(frozen=True)
class SummaryCosts:
    """Attributes:
    bytes: of one summary. reads: behaviours of as many bytes, which is what reading it is charged as.
    due_share: of the requests, those that make a summary. build_s: seconds of some of them, on the scorer.
    """

    bytes: int
    reads: int
    due_share: float
    build_s: NDArray[np.float64]


def served_profile(plan: Plan, arm: Arm, profile: ServiceProfile) -> ServiceProfile:
    """The service times that an arm meets: the profile itself, unless it keeps summaries.

    Raises:
        ProfileError: the profile lacks the parts.
    """
    kept = refreshes_of(plan, arm)
    if kept is None:
        return profile
    costs, full = _costs(plan, arm, profile, kept), arm.serving.full
    # Steps that read a history are told from the one that reads a summary by how much they read.
    others = max((step.history for step in arm.scored_steps if not arm.keeps_summary(step)), default=0)
    store, transport = profile.store_grid(arm.serving.store), profile.transport_grid

    def by_history(cells: Mapping[int, Samples], grid: Grid) -> dict[int, Samples]:
        same = {h: samples for h, samples in cells.items() if h <= others}
        summary = _samples_at(grid, costs.reads)
        return same | {max(others, full.history - 1) + 1: summary, others + 1: summary}

    model = full.model or ""
    read = profile.score[f"{model}{SUMMARY_PARTS[0]}"]
    scores: dict[tuple[int, int, int], Samples] = {}
    for (_, candidates, batch), samples in read.items():
        made = _with_builds(samples, batch, costs, plan.config.seed)
        scores |= {(history, candidates, batch): made for history in (0, full.history)}
    # In which order samples of these were measured says nothing any more.
    made_up = {f"store/{arm.serving.store}", "transport", f"score/{model}"}
    return replace(
        profile,
        order={place: order for place, order in profile.order.items() if place not in made_up},
        cpu_s={place: cpu_s for place, cpu_s in profile.cpu_s.items() if place not in made_up},
        store={**profile.store, arm.serving.store: by_history(profile.store[arm.serving.store], store)},
        transport=by_history(profile.transport, transport),
        score={**profile.score, model: scores},
    )


def summary_notes(plan: Plan, arm: Arm, profile: ServiceProfile) -> dict[str, Any]:
    """For the manifest: how many summaries were made, their bytes, and the scorers' seconds; else nothing."""
    kept = refreshes_of(plan, arm)
    if kept is None:
        return {}
    costs, made = _costs(plan, arm, profile, kept), int(kept.due.sum())
    users = len(np.unique(plan.prepared.requests.user_id))
    return {
        "summary": {
            "refreshes": made,
            "share_of_requests": costs.due_share,
            "bytes_per_user": costs.bytes,
            "bytes": costs.bytes * users,
            "read_as_behaviours": costs.reads,
            "build_s": float(costs.build_s.mean()) * made,
        }
    }


def _costs(plan: Plan, arm: Arm, profile: ServiceProfile, kept: Refreshes) -> SummaryCosts:
    prepared, history = plan.prepared, arm.serving.full.history
    size = build_model(model_config(prepared.world.sizes, arm.main), 0).summary_bytes
    columns = prepared.world.behaviours.columns
    each = sum(columns[name].dtype.itemsize for name in MODEL_COLUMNS)
    due = np.flatnonzero(kept.due)
    due = due[:: max(1, len(due) // _BUILDS)]
    store, transport = profile.store_grid(arm.serving.store), profile.transport_grid
    build = profile.score_grid(f"{arm.serving.full.model}{SUMMARY_PARTS[1]}")
    luck = uniform(plan.config.seed, "summary build", prepared.requests.request_id[due])
    seconds = [
        store.at(length).mean() + transport.at(length).mean() + build.at(length, 1, 1).quantile(float(u))
        for length, u in zip(_lengths(plan, kept, due, history).tolist(), luck, strict=True)
    ]
    return SummaryCosts(size, -(-size // each), float(kept.due.mean()), np.array(seconds))


def _lengths(plan: Plan, kept: Refreshes, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """(N,) behaviours that a summary of some requests is made of."""
    behaviours, prepared = plan.prepared.world.behaviours, plan.prepared
    first = behaviours.offsets[np.searchsorted(behaviours.users, prepared.requests.user_id[rows])]
    found = [
        np.searchsorted(behaviours.time_s[a : a + n], limit_s)
        for a, n, limit_s in zip(first, prepared.history_available[rows], kept.before_s[rows], strict=True)
    ]
    return np.minimum(np.array(found, np.int64), most)


def _samples_at(grid: Grid, history: int) -> Samples:
    """A spread at a history length that need not have been measured, as samples.

    More than the longest measured is read in several reads, one after another: dearer than it would be.
    """
    most = max(grid.points[0])
    times, rest = divmod(history, most)
    spreads = [grid.at(most)] * times + ([grid.at(rest)] if rest else [])
    return tuple(sum(s.quantile(float(u)) for s in spreads) for u in np.linspace(0.0, 1.0, _SAMPLES))


def _with_builds(samples: Samples, batch: int, costs: SummaryCosts, seed: int) -> Samples:
    """A batch's spread in which each request makes its summary with the trace's probability."""
    at = np.arange(_SAMPLES * batch, dtype=np.uint64)
    chosen = uniform(seed, f"summary due {batch}", at) < costs.due_share
    which = (uniform(seed, f"summary made {batch}", at) * len(costs.build_s)).astype(np.int64)
    builds = np.where(chosen, costs.build_s[which], 0.0).reshape(_SAMPLES, batch).sum(axis=1)
    known = np.sort(np.array(samples))
    read = np.interp(np.linspace(0.0, 1.0, _SAMPLES), np.linspace(0.0, 1.0, len(known)), known)
    return tuple(float(s) for s in np.sort(read + builds))
