"""How many requests a second the value plane scores, from arrays on the host to scores on the host.

    python benchmarks/serving/value_plane.py [--device auto|cpu|cuda] [--quick] [--json] [--out FILE]

On a GPU all models, and DIN-50 and LASER-1000 on one thread of its CPU; without one those two. Models have
width 16, histories are full, weights random and away from a beginning that hides what a history says. Every
call has fresh requests. Beside each figure, in the same run:

    alone, batches   the rivals: `laser.scoring.runtime.Scorer`, one request after another (what the value
                     plane did) and in batches of any shape (whose bits depend on neighbours).
    device           on a GPU the same graph without a host that packs: as fast as these kernels get.
    copy             the time of the bucket's bytes over the bus, as measured: no kernel can save it.

Checks: probabilities against a float64 forward pass on the CPU, outputs poisoned with NaN before, and bits
(`equal_bits`). One request at a time, and the segments' kernel beside its floor: `one_request.py`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.result import Measured, bar, options, show
from benchmarks.serving.equal_bits import differing, drawn_requests
from benchmarks.serving.one_request import one_bars, one_rows
from benchmarks.serving.served import SEED, Case, model_of
from laser.models import RankingModel, build_model
from laser.scoring.bucket import Bucket
from laser.scoring.buckets import BucketScorer
from laser.scoring.requests import Requests, runs
from laser.scoring.runtime import Scorer, resolve_device
from laser.scoring.shapes import plan
from laser.scoring.snapshot import freeze

POOLS = 3  # of fresh requests, taken in turn
CHECKED = 12  # requests against float64
RIVAL_BATCHES = (32, 128)
Row = dict[str, Any]

CASES = (
    Case("din", 50, 32, ("value_din50_c32", 300e3, 600e3)),
    Case("laser", 1000, 32, ("value_laser1000_c32", 120e3, 250e3)),
    *(
        Case(kind, 1000, 32)
        for kind in ("base", "din", "sim", "twin", "transformer", "hstu", "stca", "vista", "vql")
    ),
    Case("laser", 1000, 200, ("value_laser1000_c200", 30e3, 60e3)),
    Case("laser", 5000, 200, ("value_laser5000_c200", 8e3, 15e3)),
    Case("twin", 1000, 200),
    Case("vql", 1000, 200),
)
# One thread's CPU time of a request, as many times less than alone.
CPU_BARS = (("cpu_din50", "din", 50, (2.5, 4.0)), ("cpu_laser1000", "laser", 1000, (1.5, 2.5)))
SLOWEST = ("value_slowest_c32", 30e3, 60e3)  # of those at 1,000 behaviours and 32 candidates
NEAR = {"float32": 1e-6, "tf32": 1e-3, "float16": 2e-4}  # largest change of a probability


def pools_of(model: RankingModel, case: Case, count: int) -> list[Requests]:
    """Fresh requests with full histories."""
    rng = np.random.default_rng([SEED, case.history, case.candidates])
    lengths = np.full(count, case.history)
    return [drawn_requests(model.config, lengths, case.candidates, rng) for _ in range(POOLS)]


def rate(score: Callable[[Requests], Any], pools: list[Requests], least_s: float) -> tuple[float, float]:
    """Requests a second of wall time, and of this thread's CPU time."""
    score(pools[0])
    done, start_s, start_cpu_s = 0, time.perf_counter(), time.thread_time()
    while time.perf_counter() - start_s < least_s or done == 0:
        score(pools[done // len(pools[0]) % len(pools)])
        done += len(pools[0])
    return done / (time.perf_counter() - start_s), done / (time.thread_time() - start_cpu_s)


def alone(scorer: Scorer) -> Callable[[Requests], None]:
    """One request after another, each made a batch of its own."""

    def score(requests: Requests) -> None:
        for row in range(len(requests)):
            scorer.score(requests.take(np.array([row]), 1 << 30).batch())

    return score


def in_batches(scorer: Scorer, size: int) -> Callable[[Requests], None]:
    """In batches of any shape."""

    def score(requests: Requests) -> None:
        for first, end in runs(len(requests), size):
            scorer.score(requests.take(np.arange(first, end), 1 << 30).batch())

    return score


def reference(model: RankingModel, requests: Requests) -> NDArray[np.float64]:
    """Probabilities by a float64 forward pass on the CPU."""
    batch = requests.batch()
    for name in ("hour", "propensity"):  # what the head computes with; ages are bucketed as float32
        object.__setattr__(batch, name, getattr(batch, name).double())
    double = build_model(model.config, SEED)
    double.load_state_dict(model.state_dict())
    double._check_attended = lambda *_: None  # type: ignore[method-assign]  # it promises float32
    with torch.inference_mode():
        found: NDArray[np.float64] = double.double().eval()(batch).sigmoid().numpy()
    return found


def poison(scorer: BucketScorer) -> None:
    """NaN wherever the next scores must be written."""
    with torch.inference_mode():
        for bucket in scorer.held.buckets.values():
            for logits in [*bucket._logits, *(bucket._outs if bucket._cuda else [])]:
                logits.fill_(float("nan"))


def apart(model: RankingModel, case: Case, precision: str, device: torch.device) -> float | None:
    """The largest difference of a probability from float64; None where the reference cannot be computed."""
    rng = np.random.default_rng([SEED, 64])
    lengths = rng.integers(case.history // 2, case.history + 1, size=CHECKED)
    requests = drawn_requests(model.config, lengths, case.candidates, rng)
    try:
        expected = reference(model, requests)
    except RuntimeError as error:  # an operation without a float64 form
        print(f"{case.kind}: no reference ({str(error).splitlines()[0]})", file=sys.stderr)
        return None
    scorer = BucketScorer(freeze(model, device, precision))
    scorer.score(requests, case.history)
    poison(scorer)
    logits = scorer.score(requests, case.history).logits.astype(np.float64)
    return float(np.abs(1.0 / (1.0 + np.exp(-logits)) - expected).max())


def device_rates(bucket: Bucket) -> Row:
    """Requests a second by the graph alone, and by the copy of its inputs alone."""
    found = {}
    for name, work in (
        ("device_rps", bucket._graphs[0].replay),
        ("copy_rps", lambda: bucket._block.copy_(bucket._fillings[0].block, non_blocking=True)),
    ):
        for _ in range(3):
            work()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        for _ in range(20):
            work()
        end.record()
        torch.cuda.synchronize()
        found[name] = bucket.shape.requests * 20e3 / start.elapsed_time(end)
    return found


def value_row(case: Case, device: torch.device, quick: bool) -> Row:
    """One model's figures."""
    model = model_of(case)
    shape = plan(model, case.history, case.candidates, device.type).shapes[-1]
    count = shape.requests * (2 if quick or device.type == "cpu" else 8)
    pools, least_s = pools_of(model, case, count), 0.05 if quick else 0.5
    scorer = BucketScorer(model, device)
    row: Row = {"device": device.type, "model": case.kind, "history": case.history}
    row |= {"candidates": case.candidates, "shape": str(shape)}
    row["rps"], row["cpu_rps"] = rate(lambda requests: scorer.score(requests, case.history), pools, least_s)
    eager = Scorer(scorer.snapshot)
    few = [pool.take(np.arange(min(len(pool), 32)), case.history) for pool in pools]
    row["alone_rps"], row["alone_cpu_rps"] = rate(alone(eager), few, least_s)
    for size in RIVAL_BATCHES[:1] if quick or device.type == "cpu" else RIVAL_BATCHES:
        if size * case.history * case.candidates <= 1 << 24:
            row[f"batches_{size}_rps"], _ = rate(in_batches(eager, size), pools, least_s / 2)
    if device.type == "cuda":
        row |= device_rates(scorer.held.bucket(shape))
    row["largest_change"] = apart(model, case, "float32", device)
    rng = np.random.default_rng([SEED, 5])
    lengths = rng.integers(case.history + 1, size=2 * shape.requests if device.type == "cuda" else 24)
    requests = drawn_requests(model.config, lengths, case.candidates, rng)
    row["bits"] = differing(lambda: BucketScorer(model, device), case.history, requests, rng)
    return row


def precision_rows(device: torch.device) -> Iterator[Row]:
    """DIN and LASER in every precision of the device: speed and the largest change of a probability."""
    for case in (CASES[0], CASES[1]):
        model = model_of(case)
        for precision in ("tf32", "float16", "bfloat16") if device.type == "cuda" else ("bfloat16",):
            scorer = BucketScorer(freeze(model, device, precision))
            shape = plan(model, case.history, case.candidates, device.type).shapes[-1]
            pools = pools_of(model, case, 4 * shape.requests)
            rps, _ = rate(partial(scorer.score, history=case.history), pools, 0.3)
            yield {
                "model": case.kind,
                "history": case.history,
                "candidates": case.candidates,
                "precision": precision,
                "rps": rps,
                "largest_change": apart(model, case, precision, device),
            }


def bars_of(rows: list[Row]) -> list[Row]:
    """The bars that the rows have figures for."""
    value = {(r["device"], r["model"], r["history"], r["candidates"]): r for r in rows if "alone_rps" in r}
    bars = []
    for case in CASES:
        if case.bar is not None and (row := value.get(("cuda", case.kind, case.history, case.candidates))):
            bars.append(bar(case.bar[0], row["rps"], case.bar[1], case.bar[2]))
    at_1000 = [row["rps"] for (where, _, *size), row in value.items() if (where, *size) == ("cuda", 1000, 32)]
    if at_1000:
        bars.append(bar(SLOWEST[0], min(at_1000), *SLOWEST[1:]))
    bars += one_bars(rows)
    for name, kind, history, wanted in CPU_BARS:
        if row := value.get(("cpu", kind, history, 32)):
            bars.append(bar(name, row["cpu_rps"] / row["alone_cpu_rps"], *wanted))
    changed = sum(sum(row["bits"].values()) for row in value.values())
    bars.append(bar("equal_bits", float(changed), 0.0, better="lower"))
    for precision, near in NEAR.items():
        found = [
            r["largest_change"]
            for r in rows
            if r.get("precision", "float32") == precision and "largest_change" in r
        ]
        if known := [change for change in found if change is not None]:
            bars.append(bar(f"change_{precision}", max(known), near, better="lower"))
    return bars


def measure(args: argparse.Namespace) -> Measured:
    """All rows, each shown as it is done."""
    device = resolve_device(args.device)
    torch.set_num_threads(1)
    rows: list[Row] = []

    def note(row: Row) -> None:
        rows.append(row)
        print(row, file=sys.stderr, flush=True)

    for case in CASES[:2]:
        note(value_row(case, torch.device("cpu"), args.quick))
    for case in CASES if device.type == "cuda" else ():
        try:
            note(value_row(case, device, args.quick))
        except Exception as error:  # the others are worth their device time
            note({"failed": str(case), "because": str(error).splitlines()[0]})
    for row in [] if args.quick else precision_rows(device):
        note(row)
    for row in one_rows(device, args.quick, apart) if device.type == "cuda" else ():
        note(row)
    return rows, bars_of(rows)


def command() -> None:
    """Parse the command line, measure, print."""
    parser = options(__doc__)
    parser.add_argument("--device", default="auto", help='"auto", "cpu" or "cuda"')
    args = parser.parse_args()
    show("value_plane", SEED, args, measure(args))


if __name__ == "__main__":
    command()
