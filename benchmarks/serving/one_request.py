"""One request at a time, ids on the host to logits on the host; and the segments' kernel beside its floor.

Width 64, 500 candidates, segments of 32, full histories, fresh ids each time. LASER and a Transformer of two
layers, each with its kernels in a captured graph. Rows say their precision; bars are of half precision, whose
largest change of a probability stands in the row.

The floor of the kernel is the longer of two times: its bytes (table rows of behaviours, and the tokens) at
the rate of a large copy on the device, and its multiplications at the rate of a large matrix product of the
same precision, both measured in the same run.

What limits it (bar 2.5; an H200 takes 3.4 floors at 10,000 behaviours, 2.8 at 100,000): the gates, whose
exponentials and divisions run beside no matrix product. A cap of registers, values mapped before the sum, and
one wave of longer runs changed little. Of 42 variants (three gates by fourteen tiles of 64 or 128 candidates
and 32 to 128 rows, each held against float64) none beats this tile of 64 by 64: a gate of the special unit's
approximate exponential and reciprocal gains 6 %, one of its approximate tangent 8 %, with an error of 1e-4 a
gate that closed gates would let through. Neither reaches the bar, and the interpreter has neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.result import bar
from benchmarks.serving.equal_bits import drawn_requests
from benchmarks.serving.served import SEED, Case, model_of
from laser.models import RankingModel
from laser.models.laser import Laser
from laser.scoring.bucket import Bucket
from laser.scoring.shapes import Shape
from laser.scoring.snapshot import freeze

ONE = Case("laser", 1000, 500, width=64)
OPTIONS: dict[str, dict[str, Any]] = {"laser": {"segment": 32}, "transformer": {"layers": 2}}
BARS_MS = {1_000: (0.15, 0.08), 10_000: (0.25, 0.18), 100_000: (1.2, 0.9)}
RIVAL_BARS = {1_000: (1.5, 3.0), 10_000: (4.0, 7.0), 100_000: (20.0, 40.0)}
FLOOR_BAR = (2.5, 1.6)
NAMES = {1_000: "1k", 10_000: "10k", 100_000: "100k"}
_PRECISIONS = ("float16", "float32")
Row = dict[str, Any]
Apart = Callable[[RankingModel, Case, str, torch.device], float | None]


def one_rows(device: torch.device, quick: bool, apart: Apart) -> Iterator[Row]:
    """LASER and Transformer, one request at a time; then the kernel beside its floor.

    Args:
        apart: the largest difference of a probability from float64.
    """
    for kind in OPTIONS:
        for precision in _PRECISIONS:
            # Of few candidates and behaviours: the reference is computed in float64 on the CPU.
            small = replace(ONE, kind=kind, candidates=32, options=OPTIONS[kind])
            change = apart(model_of(small), small, precision, device)
            for history in list(BARS_MS)[: 1 if quick else None]:
                case = replace(ONE, kind=kind, history=history, options=OPTIONS[kind])
                slow = kind != "laser" and history == 100_000
                try:
                    taken = _one_ms(case, device, precision, 10 if quick or slow else 1000)
                except Exception as error:  # a kernel that a card has no room for, too, is a row
                    yield {"one": kind, "history": history, "failed": str(error).splitlines()[0]}
                    continue
                row: Row = {"one": kind, "history": history, "precision": precision, "replays": len(taken)}
                for q in (50, 99):
                    row[f"p{q}_ms"] = float(np.percentile(taken, q))
                yield row | {"largest_change": change}
    for history in [] if quick else [length for length in BARS_MS if length >= 10_000]:
        try:
            yield _floor_row(history, device)
        except Exception as error:
            yield {"kernel": "segment_tokens", "history": history, "failed": str(error).splitlines()[0]}


def one_bars(rows: list[Row]) -> Iterator[Row]:
    """The bars that the rows have figures for."""
    half = [row for row in rows if "p50_ms" in row and row["precision"] == "float16"]
    one = {(row["one"], row["history"]): row for row in half}
    for history, name in NAMES.items():
        laser, rival = one.get(("laser", history)), one.get(("transformer", history))
        if laser:
            yield bar(f"one_laser_{name}", laser["p50_ms"], *BARS_MS[history], better="lower")
        if laser and rival:
            yield bar(f"vs_transformer_{name}", rival["p50_ms"] / laser["p50_ms"], *RIVAL_BARS[history])
    if laser := one.get(("laser", 1000)):
        yield bar("replay_tail", laser["p99_ms"] / laser["p50_ms"], 1.3, 1.15, better="lower")
    if floors := [row["times_floor"] for row in rows if "times_floor" in row]:
        yield bar("sta_floor", max(floors), *FLOOR_BAR, better="lower")


def _one_ms(case: Case, device: torch.device, precision: str, replays: int) -> NDArray[np.float64]:
    """Milliseconds of one request, each with fresh ids, in a shape of one."""
    model = model_of(case)
    rng = np.random.default_rng([SEED, 7])
    drawn = drawn_requests(model.config, np.full(4, case.history), case.candidates, rng)
    requests = [drawn.part(i, i + 1) for i in range(4)]
    bucket = Bucket(freeze(model, device, precision), Shape(1, case.history, case.candidates))
    warm_ups = min(replays, 20)
    taken = np.empty(replays + warm_ups)
    for i in range(len(taken)):
        start_s = time.perf_counter()
        bucket.put(0, requests[i % 4])
        bucket.take(0, 1)
        taken[i] = time.perf_counter() - start_s
    return 1e3 * taken[warm_ups:]


def _floor_row(history: int, device: torch.device) -> Row:
    """The kernel that makes the segments' tokens, in half precision."""
    from laser.attention.kernels import fused
    from laser.attention.kernels.segments import segment_tokens

    case = replace(ONE, history=history, options=OPTIONS["laser"])
    model = freeze(model_of(case), device, "float16").model
    assert isinstance(model, Laser)
    (served,) = model._served
    assert served is not None
    draw = torch.Generator(device).manual_seed(SEED)
    length, width = -(-history // served.segment) * served.segment, case.width
    rows = [
        torch.randint(1, len(table), (1, length), device=device, generator=draw, dtype=torch.int32)
        for table in served.tables[:2]
    ]
    first = torch.zeros(1, dtype=torch.int32, device=device)
    target = torch.randn(1, case.candidates, width, device=device, generator=draw)

    def tokens() -> None:
        segment_tokens(target, (rows[0], rows[1], first), served.segment, served.tables, served.net)

    with torch.inference_mode(), fused("float16"):
        taken_ms = _device_ms(tokens)
    segments, heads, inner = length // served.segment, served.tables[0].shape[2], served.net[0].shape[2]
    per_token = 2 * heads * served.segment * width + 2 * width * inner  # multiplications with an addition
    flops = 2.0 * case.candidates * segments * per_token
    moved = 2.0 * case.candidates * segments * width + 8.0 * length
    copied, multiplied = torch.empty(1 << 30, dtype=torch.uint8, device=device), _drawn(8192, device, draw)
    copy_ms = _device_ms(lambda: copied[: 1 << 29].copy_(copied[1 << 29 :]), 5)
    product_ms = _device_ms(lambda: torch.mm(multiplied, multiplied), 5)
    floors = {"bytes_ms": moved / (1 << 30) * copy_ms, "flops_ms": flops / (2.0 * 8192**3) * product_ms}
    return {
        "kernel": "segment_tokens", "history": history, "precision": "float16", "taken_ms": taken_ms,
        **floors, "times_floor": taken_ms / max(floors.values()),
    }  # fmt: skip


def _drawn(size: int, device: torch.device, draw: torch.Generator) -> torch.Tensor:
    return torch.randn(size, size, device=device, dtype=torch.float16, generator=draw)


def _device_ms(work: Callable[[], object], repeats: int = 20) -> float:
    """Milliseconds of work on the device, of a graph that does it several times."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(aside):
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            work()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    graph.replay()
    start.record()
    graph.replay()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / repeats
