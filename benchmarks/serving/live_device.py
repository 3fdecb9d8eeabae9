"""A live run's batches once more: on the device and on the CPU, and how long the device works for one."""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile

from benchmarks.serving.live_rows import served_rows
from laser.checkpoint import load
from laser.scoring.live import LiveScorer
from laser.scoring.runtime import resolve_device
from seqvault.store import HistoryBatch, open_store
from simulator.arms.arm import Arm
from simulator.arms.histories.replayed import ReplayedStore
from simulator.arms.live import LiveCalls
from simulator.arms.models import live_scorers, snapshots
from simulator.arms.plan import Plan
from simulator.results.read import Run

COMPARED = 1024  # scored requests of each arm, at least, in batches spread evenly over the trace
_WARM_UP = 10  # batches


@dataclass(frozen=True)
class _Batch:
    """A batch as the run scored it: the arguments of `LiveCalls.score`."""

    rows: list[int]
    model: str
    histories: list[int]
    payloads: list[HistoryBatch]


def device_rows(run: Run, plan: Plan) -> tuple[float, dict[str, dict[str, Any]]]:
    """Score a sample of each arm's batches again.

    Returns:
        The largest difference in probability between the device and the CPU, and by arm: requests compared,
        their largest difference, mean batch, and the share of a scoring call in which a kernel or copy runs
        (null without a GPU, or where its profiler gives nothing).
    """
    found: dict[str, dict[str, Any]] = {}
    prepared = plan.prepared
    with TemporaryDirectory(prefix="laser-ab-gpu-") as folder, open_store("memory", Path(folder)) as memory:
        # Reads are bounded in time, so one store loaded to its end serves every request of both arms.
        store = ReplayedStore(prepared, memory, "memory", len(prepared.requests) - 1)
        for arm in plan.arms:
            batches = _sample(run, store, arm)
            device, cpu = (LiveCalls(prepared, store, _models(run, plan, arm, on)) for on in ("auto", "cpu"))
            worst = max(_difference(device, cpu, batch) for batch in batches)
            requests = sum(len(batch.rows) for batch in batches)
            found[arm.name] = {
                "compared_requests": requests,
                "largest_difference": worst,
                "mean_batch": requests / len(batches),
                "kernel_share_of_scoring": _kernel_share(device, batches),
            }
    return max(entry["largest_difference"] for entry in found.values()), found


def _sample(run: Run, store: ReplayedStore, arm: Arm) -> list[_Batch]:
    """At least COMPARED scored requests in the batches that they were scored in (all, if there are fewer)."""
    served, ladder = served_rows(run, arm.name), arm.ladder
    scored = np.flatnonzero(~np.isnan(served["score_end_ms"]))
    # A batch starts, and ends, at one moment, to the nanosecond.
    moments = [served["sim_arrival_s"] + served[f"score_{end}_ms"] / 1e3 for end in ("start", "end")]
    together = np.round(np.stack(moments, axis=1)[scored], 9)
    _, batch_of = np.unique(together, axis=0, return_inverse=True)
    parts = np.split(scored[np.argsort(batch_of, kind="stable")], np.cumsum(np.bincount(batch_of))[:-1])
    wanted = 1.25 * COMPARED * len(parts) / len(scored)  # batches; a quarter more, as their sizes differ
    chosen = parts[:: max(1, int(len(parts) / wanted))]
    return [_again(store, rows, served, ladder[int(served["step"][rows[0]])].model) for rows in chosen]


def _again(
    store: ReplayedStore,
    rows: NDArray[np.int64],
    served: dict[str, Any],
    model: str | None,
) -> _Batch:
    histories = served["history_used"][rows].tolist()
    payloads = [store.read(rows[i : i + 1], history) for i, history in enumerate(histories)]
    return _Batch(rows.tolist(), model or "", histories, payloads)


def _models(run: Run, plan: Plan, arm: Arm, device: str) -> dict[str, LiveScorer]:
    """The models that the run trained."""
    models = run.path / "models"
    frozen = snapshots(arm, lambda spec: load(models / f"{spec.key}.ckpt")[0], str(resolve_device(device)))
    return live_scorers(arm, frozen, plan.threads)


def _score(calls: LiveCalls, batch: _Batch) -> NDArray[np.float32]:
    return calls.score(batch.rows, batch.model, batch.histories, batch.payloads)


def _difference(one: LiveCalls, other: LiveCalls, batch: _Batch) -> float:
    first, second = (1.0 / (1.0 + np.exp(-_score(calls, batch).astype(float))) for calls in (one, other))
    return float(np.abs(first - second).max())


def _kernel_share(calls: LiveCalls, batches: list[_Batch]) -> float | None:
    if resolve_device("auto").type != "cuda":
        return None
    for batch in batches[:_WARM_UP]:
        _score(calls, batch)
    start_s = time.perf_counter()
    for batch in batches:
        _score(calls, batch)  # scores come back to the host, so the device has finished
    call_s = time.perf_counter() - start_s
    # Once more under the profiler, which slows the host down but not the kernels.
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        for batch in batches:
            _score(calls, batch)
    busy_us = sum(e.self_device_time_total for e in recorded.events() or [] if e.device_type.name == "CUDA")
    return busy_us * 1e-6 / call_s if busy_us > 0 else None
