"""How fast DIN and LASER train on 3.2 million impressions, beside what the card could do at best.

    python benchmarks/models/train_speed.py [--drawn FOLDER | --against TREE] [--quick] [--json] [--out FILE]

The log of one `loud` world: 404,000 requests of 8 candidates. Drawing the world and loading it onto the
device are not counted; everything that `train` does is, capturing the steps included. Each model trains
ROUNDS times after one that is not counted (it compiles kernels and opens libraries; its time is a row of its
own), and once by plain steps.

The roofline of a step is the larger of two times: its multiplications, forward and backward as torch counts
them, over the rate of the matrix units, and its bytes over the memory's bandwidth. Bytes are those of the
tensors that the plain model keeps for its backward pass, each written and read once, and as much again for
their gradients. Fused kernels keep fewer, so a step may come below that; it cannot come below reading the
behaviours themselves, which is given too.

--against TREE, a checkout of an earlier commit: instead of all that, the demo's models on one CPU thread in
both trees in turn (`train_cpu.py`). The bar `train_cpu` is against commit b8ab8cb, at the same quality:
1.32, seven rounds of 1.31 to 1.34 on cores with AVX-512. At commit a0d50aa it was 1.195 on slower ones
(1.14 to 1.22); since then DIN's step takes .94 of the CPU seconds of that commit, LASER's .99, with the
same weights, and a training no longer imports torch's compiler. What limits it: DIN's steps are mostly the
dispatch of small operations, LASER's are products of 10 x 24 and 51,200 x 16, a LayerNorm over 16 numbers,
and padding; and held-out requests, scored in fixed shapes so that their bits depend on nobody, take DIN
1.06 to 1.27 times what batches of any shape took: a sixth of its places is padding. Gradients written out,
look-ups by row and batches of 64 brought the most; Adam over flat vectors, denormals flushed to zero, and a
collector switched off brought nothing; nor did values built before the sums at 8 candidates, a LayerNorm by
passes over all rows, nets over parts of the tokens that fit a cache, scattered additions for look-ups,
histories copied in one piece, or examples in 16 bytes a behaviour.
"""

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.models.cells import Cell, Sizes, World, chosen, open_world, scores
from benchmarks.models.train_cpu import against
from benchmarks.models.world_files import read
from benchmarks.result import Measured, bar, options, show
from laser.models import ModelConfig, build_model
from laser.scoring.runtime import resolve_device
from laser.sources import DeviceSource
from laser.training.config import TrainConfig
from laser.training.loop import train
from laser.training.loss import summed_loss

SEED = 1
ROUNDS = 3
MODELS = {"din": 50, "laser": 5000}
BARS_S = {"din": 6.0, "laser": 12.0}
# One H100 SXM: a large copy as measured (both ways counted), TF32 without sparsity by the datasheet.
BYTES_PER_S, FLOPS_PER_S = 2.93e12, 494e12
BEHAVIOUR_BYTES = 16  # as `DeviceSource` keeps it


def timed(config: ModelConfig, how: TrainConfig, world: World, round_: int) -> tuple[float, Any]:
    """Seconds of one training, and the model."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start_s = time.perf_counter()
    model = train(config, how, world.log, round_)
    return time.perf_counter() - start_s, model


def roofline(config: ModelConfig, how: TrainConfig, source: DeviceSource) -> dict[str, float]:
    """FLOPs and bytes of a step, and the time that they take at the card's peaks."""
    model = build_model(config, SEED).to(source.device).train()
    rows = torch.arange(how.batch, device=source.device)
    batch, clicks = source.aligned(rows, torch.tensor([how.history], device=source.device), how.history)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = summed_loss(model, batch, clicks, by_request=False)
        loss.backward()  # type: ignore[no-untyped-call]
    flops, step_bytes = float(counter.get_total_flops()), 4.0 * sum(kept.values())
    return {
        "step_flops": flops,
        "step_bytes": step_bytes,
        "input_bytes": float(how.batch * how.history * BEHAVIOUR_BYTES),
        "flops_ms": 1e3 * flops / FLOPS_PER_S,
        "bytes_ms": 1e3 * step_bytes / BYTES_PER_S,
    }


def rows_of(name: str, history: int, world: World, sizes: Sizes, device: str) -> list[dict[str, Any]]:
    """All rounds of one model, and its roofline."""
    config, how = chosen(Cell("loud", SEED, 0, "tuned", name), world, sizes, device)
    requests = len(world.log.examples)
    steps = -(-requests // how.batch)
    impressions = int(world.log.examples.shown.sum())
    said = {"model": name, "history": history, "requests": requests, "batch": how.batch, "steps": steps}
    said["impressions"] = impressions
    rows: list[dict[str, Any]] = []
    for round_ in range(-1, ROUNDS):
        train_s, model = timed(config, how, world, max(round_, 0))
        kind = "first" if round_ < 0 else "round"
        rows.append({**said, "kind": kind, "seed": max(round_, 0), "train_s": train_s})
    sauc = scores(model, world, history, device)["sauc"]
    plain_s, model = timed(config, TrainConfig(**{**vars(how), "fast": False}), world, ROUNDS - 1)
    plain = scores(model, world, history, device)["sauc"]
    rows.append({**said, "kind": "plain", "seed": ROUNDS - 1, "train_s": plain_s, "sauc": plain})
    train_s = float(median(row["train_s"] for row in rows if row["kind"] == "round"))
    summary: dict[str, Any] = {
        **said,
        "kind": "median",
        "train_s": train_s,
        "step_ms": 1e3 * train_s / steps,
        "sauc": sauc,
    }
    summary["impressions_per_s"] = impressions / train_s
    if isinstance(world.log, DeviceSource):
        found = roofline(config, how, world.log)
        summary |= found
        summary["roofline_s"] = 1e-3 * steps * max(found["flops_ms"], found["bytes_ms"])
        summary["times_roofline"] = train_s / summary["roofline_s"]
    return [*rows, summary]


def measure(args: argparse.Namespace) -> Measured:
    """Both models on one world, or against an earlier commit."""
    if args.against is not None:
        rows = against(args.against, args.quick)
        return rows, [bar("train_cpu", rows[-1]["faster"], 1.2, 1.6)]
    histories = {"din": 50, "laser": 500} if args.quick else MODELS
    sizes = Sizes(400 if args.quick else None, histories, 0)
    made = None if args.drawn is None else read(args.drawn, "loud", SEED)
    device = "cuda" if resolve_device("auto").type == "cuda" else "cpu"
    world = open_world("loud", SEED, sizes, device, made)
    rows = [
        row for name, history in histories.items() for row in rows_of(name, history, world, sizes, device)
    ]
    bars = []
    for row in rows:
        if row["kind"] == "median" and not args.quick:
            name = "train_s_din" if row["model"] == "din" else f"train_s_laser_{row['history']}"
            bars.append(bar(name, row["train_s"], BARS_S[row["model"]], better="lower"))
    return rows, bars


def command() -> None:
    """Parse the command line, measure, print."""
    parser = options(__doc__)
    parser.add_argument("--drawn", type=Path, help="folder where world_files.py puts loud:1, waited for")
    parser.add_argument("--against", type=Path, help="checkout of an earlier commit, for train_cpu alone")
    args = parser.parse_args()
    show("train_speed", SEED, args, measure(args))


if __name__ == "__main__":
    command()
