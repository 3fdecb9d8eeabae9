"""How many requests a second one device serves live: dynamic batches, planning included, P99 within 10 ms.

    python benchmarks/serving/live.py [--device auto|cpu|cuda] [--precision float32] [--quick] [--out FILE]

LASER scores 200 candidates a request; histories are lognormal about 1,000 behaviours (sigma 1.2, at most
10,000). Requests arrive by Poisson's law in real time and lie on the host as arrays of their own. A loop
takes whoever has arrived, joins them, parts them into lanes, packs and scores them, and while the device
works on one batch it plans the next. A request's latency runs from its arrival to its logits on the host.
Rates are raised while the P99 holds: in most of ROUNDS stretches of arrivals, since a single pause of the
machine is more than a hundredth of a stretch. Python's collector is off, as in a live run: a pass over all
that torch and the kernels' compiler hold takes as long as several batches. Each row has the longest time that
the host took to plan a batch, and that it then waited for the device. On a CPU, and with --quick, all of it
is smaller.
"""

import argparse
import sys
import time
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from benchmarks.result import Measured, bar, options, show
from benchmarks.serving.equal_bits import drawn_requests
from benchmarks.serving.served import Case, model_of
from laser.scoring.live import LiveScorer, UnderWay
from laser.scoring.requests import Requests
from laser.scoring.runtime import resolve_device
from laser.scoring.snapshot import freeze
from simulator.serving.measure import collector_off

SEED = 3
BUDGET_MS = 10.0
POOL = 1024  # different requests
ROUNDS = 3


@dataclass(frozen=True)
class Load:
    """What is served: `most` requests of a batch at most, `seconds` of arrivals at each rate."""

    median: int
    longest: int
    candidates: int
    most: int
    seconds: float
    first_rps: float
    steps: int


ON_GPU = Load(1000, 10_000, 200, 256, 1.5, 4000.0, 4)
SMALL = Load(60, 300, 8, 8, 0.5, 50.0, 1)


def pool_of(scorer: LiveScorer, load: Load) -> list[Requests]:
    """Requests, each in arrays of its own."""
    rng = np.random.default_rng(SEED)
    lengths = np.minimum(load.median * np.exp(1.2 * rng.standard_normal(POOL)), load.longest).astype(np.int64)
    drawn = drawn_requests(scorer.snapshot.model.config, lengths, load.candidates, rng)
    return [drawn.part(i, i + 1) for i in range(POOL)]


def joined(requests: list[Requests]) -> Requests:
    """One batch, longest histories first: lanes are then parts of it that need no copy."""
    ordered = sorted(requests, key=lambda one: -len(one.category))
    lengths = [len(one.category) for one in ordered]
    columns = {f.name: np.concatenate([getattr(one, f.name) for one in ordered]) for f in fields(Requests)}
    columns["offsets"] = np.concatenate([[0], np.cumsum(lengths)])
    return Requests(**columns)


def served(scorer: LiveScorer, pool: list[Requests], load: Load, rps: float) -> dict[str, Any]:
    """Serve ROUNDS stretches of arrivals at a rate: that with the median P99, and the P99s of all."""
    with collector_off():
        found = [stretch(scorer, pool, load, rps, round_) for round_ in range(ROUNDS)]
    found.sort(key=lambda row: float(row["p99_ms"]))
    return found[ROUNDS // 2] | {"all_p99_ms": [row["p99_ms"] for row in found]}


def stretch(scorer: LiveScorer, pool: list[Requests], load: Load, rps: float, round_: int) -> dict[str, Any]:
    """Serve arrivals at a rate as they come; gives up on a rate once a second's worth waits."""
    rng = np.random.default_rng([SEED, int(rps), round_])
    count = max(20, int(rps * load.seconds))
    arrivals = np.cumsum(rng.exponential(1.0 / rps, count))
    which = rng.integers(POOL, size=count)
    done = np.full(count, np.nan)
    taken, planned_s, waited_s = 0, [0.0], [0.0]
    under_way: tuple[UnderWay, int, int] | None = None

    def finish() -> None:
        nonlocal under_way
        if under_way is not None:
            batch, first, end = under_way
            begun_s = time.perf_counter()
            batch.scores()
            waited_s.append(time.perf_counter() - begun_s)
            done[first:end] = time.perf_counter() - start_s
            under_way = None

    start_s = time.perf_counter()
    while taken < count:
        now_s = time.perf_counter() - start_s
        end = min(int(np.searchsorted(arrivals, now_s)), taken + load.most)
        if end == taken:
            finish()
            continue
        if now_s - arrivals[taken] > 1.0:
            break
        begun_s = time.perf_counter()
        begun = scorer.begin(joined([pool[i] for i in which[taken:end]]))
        planned_s.append(time.perf_counter() - begun_s)
        finish()
        under_way, taken = (begun, taken, end), end
    finish()
    latency_ms = 1e3 * (done - arrivals)
    # Whoever was not served is late; the beginning, where nothing waits yet, is left out.
    counted = np.where(np.isnan(latency_ms), np.inf, latency_ms)[count // 10 :]
    p50, p99 = np.quantile(counted, (0.5, 0.99), method="higher")
    return {
        "rps": rps,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "requests": count,
        "mean_batch": taken / max(len(planned_s) - 1, 1),
        "host_ms_per_batch": 1e3 * sum(planned_s) / max(len(planned_s) - 1, 1),
        "host_us_per_request": 1e6 * sum(planned_s) / max(taken, 1),
        "longest_host_ms": 1e3 * max(planned_s),
        "longest_wait_ms": 1e3 * max(waited_s),
    }


def search(scorer: LiveScorer, pool: list[Requests], load: Load) -> list[dict[str, Any]]:
    """Rates doubled while the P99 holds, then `load.steps` between the last that held and the next."""
    rows = [served(scorer, pool, load, load.first_rps)]
    while rows[-1]["p99_ms"] <= BUDGET_MS and len(rows) < 8:
        rows.append(served(scorer, pool, load, rows[-1]["rps"] * 2.0))
    holds = [row["rps"] for row in rows if row["p99_ms"] <= BUDGET_MS]
    low, high = (max(holds), rows[-1]["rps"]) if holds else (0.0, rows[0]["rps"])
    for _ in range(load.steps):
        rows.append(served(scorer, pool, load, (low + high) / 2.0))
        low, high = (rows[-1]["rps"], high) if rows[-1]["p99_ms"] <= BUDGET_MS else (low, rows[-1]["rps"])
    return rows


def measure(args: argparse.Namespace) -> Measured:
    """Every precision asked for."""
    device = resolve_device(args.device)
    torch.set_num_threads(1)
    load = SMALL if args.quick or device.type == "cpu" else ON_GPU
    model = model_of(Case("laser", load.longest, load.candidates))
    rows: list[dict[str, Any]] = []
    bars = []
    for precision in args.precision.split(","):
        scorer = LiveScorer(freeze(model, device, precision), load.longest)
        start_s = time.perf_counter()
        scorer.warm(load.most, load.candidates)
        warm_s = time.perf_counter() - start_s
        pool = pool_of(scorer, load)
        for size in (1, load.most):
            scorer.score(joined(pool[:size]))
        head = {"device": device.type, "precision": precision, "shapes": len(scorer.held.buckets)}
        rows.append({**head, "warm_s": warm_s})
        found = search(scorer, pool, load)
        rows += [{**head, **row} for row in found]
        for row in rows[-len(found) - 1 :]:
            print(row, file=sys.stderr, flush=True)
        holds = max((row["rps"] for row in found if row["p99_ms"] <= BUDGET_MS), default=0.0)
        if device.type == "cuda":
            name = "live_rps" if precision == "float32" else f"live_rps_{precision}"
            bars.append(bar(name, holds, 20e3, 30e3))
    return rows, bars


def command() -> int:
    """Parse, measure, print."""
    parser = options(__doc__)
    parser.add_argument("--device", default="auto", help="where requests are scored")
    parser.add_argument("--precision", default="float32", help="one or several, with commas")
    args = parser.parse_args()
    show("live", SEED, args, measure(args))
    return 0


if __name__ == "__main__":
    sys.exit(command())
