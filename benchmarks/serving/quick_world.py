"""A whole experiment in the value plane: the `quick` world scored on a device, and a sample on the CPU.

    python benchmarks/serving/quick_world.py [--device auto|cpu|cuda] [--requests N] [--users N] [--quick]

Both arms of the demo, LastN + DIN-50 and SeqVault + LASER-1000, score 100,000 requests each with full
histories: read from a real store, up to the logits on the host; a process an arm, as a run serves them,
after a few requests that open libraries and compile kernels (`first_s`). Weights are random and away from a
beginning that hides what a history says. A sample of the requests is scored on the CPU too. In the serving
of such an experiment on an H200 a scored request took 2.7 ms before scores came in batches of fixed shape.
"""

import cProfile
import os
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.result import Measured, bar, options, show
from laser import checkpoint
from laser.models import build_model
from laser.scoring.device import gpu_name
from laser.scoring.runtime import resolve_device
from simulator.arms.arm import Arm, ModelSpec, needed_models
from simulator.arms.models import TrainedModel, model_config
from simulator.arms.plan import Plan, make_plan
from simulator.arms.scores import score_needed
from simulator.config.load import load_config
from simulator.execution.cache import BOUND_VARIABLE
from simulator.execution.checkpoints import file_digest
from simulator.inputs.prepare import prepare
from simulator.inputs.shared import share

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.toml"
SEED = 7
ARMS = 2
SAMPLE = 1000  # requests that the CPU scores
BEFORE_MS = 2.7  # of a scored request, at commit b8ab8cb on an H200
SMALL = ["traffic.preset=demo", "traffic.world.users=300", "traffic.world.history_max=300"]
Trained = Mapping[ModelSpec, TrainedModel]


@dataclass(frozen=True)
class Size:
    """Attributes:
    requests: of the trace. users: None for the preset's. quick: a small world.
    readers: processes that read ahead for each arm.
    profile: whether to print where each arm's process spends its time.
    """

    requests: int
    users: int | None = None
    quick: bool = False
    readers: int = 0
    profile: bool = False


def planned(size: Size, device: str) -> Plan:
    """The experiment on a device."""
    world = SMALL if size.quick else ["traffic.preset=quick"]
    users = [] if size.users is None else [f"traffic.world.users={size.users}"]
    settings = [*world, *users, f"traffic.world.requests={size.requests}", f"experiment.device={device}"]
    return make_plan(load_config(DEMO, settings, environment={}), profiled=False)


def weights(plan: Plan, folder: Path) -> Trained:
    """A checkpoint for every model, as if it had been trained."""
    found = {}
    for spec in needed_models(plan.arms):
        model = build_model(model_config(plan.prepared.world.sizes, spec), SEED)
        draw = torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            for values in model.parameters():
                values.add_(torch.randn(values.shape, generator=draw), alpha=0.02)
        path = folder / f"{spec.key}.ckpt"
        checkpoint.save(model, path, {})
        found[spec] = TrainedModel(spec, path, file_digest(path), {}, {}, 0.0)
    return found


def scored(
    plan: Plan, arm: Arm, models: Trained, folder: Path, rows: slice, readers: int = 0
) -> tuple[NDArray[np.float64], float]:
    """Full-history probabilities of some requests, (R, C), and the seconds that all of it took."""
    needed = np.zeros((len(plan.prepared.requests), len(arm.scored_steps)), np.bool_)
    needed[rows, 0] = True
    start_s = time.perf_counter()
    logits, _ = score_needed(plan, arm, needed, models, folder, None, readers)
    taken_s = time.perf_counter() - start_s
    return 1.0 / (1.0 + np.exp(-logits[0][rows].astype(np.float64))), taken_s


def arm_on_device(
    size: Size, device: str, share: Callable[[], None], name: str, folder: str, ready: Any, found: Any
) -> None:
    """One process: map the world and compile, wait for the others, score all requests of an arm."""
    share()
    plan = planned(size, device)
    arm = next(arm for arm in plan.arms if arm.name == name)
    own = Path(folder) / name
    models = weights(plan, own)
    start_s = time.perf_counter()
    scored(plan, arm, models, own / "first", slice(0, 10))
    warm_s = time.perf_counter() - start_s
    ready.wait()
    began = time.time()
    profiler = cProfile.Profile(builtins=False)
    with profiler if size.profile else nullcontext():
        probabilities, _ = scored(plan, arm, models, own / "all", slice(None), size.readers)
    ended = time.time()
    if size.profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(45)
    np.save(own / "probabilities.npy", probabilities)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    found.put({"arm": name, "began": began, "ended": ended, "first_s": warm_s, "peak_gb": peak_gb})


def on_device(size: Size, device: str, names: tuple[str, ...], folder: str) -> list[dict[str, Any]]:
    """All arms at once, a process each, as a run of two jobs serves them."""
    context = get_context("spawn")
    ready, found = context.Barrier(len(names)), context.Queue()
    sent = share(planned(size, "cpu").world, Path(folder))
    running = [
        context.Process(target=arm_on_device, args=(size, device, sent, name, folder, ready, found))
        for name in names
    ]
    for process in running:
        process.start()
    rows = [found.get(timeout=500) for _ in names]
    for process in running:
        process.join()
    return rows


def measure(size: Size, device: str) -> Measured:
    """All requests on the device, a sample on the CPU, by arm."""
    requests, plan = size.requests, planned(size, "cpu")
    start_s = time.perf_counter()
    prepare(plan.world, len(os.sched_getaffinity(0)))
    world_s = time.perf_counter() - start_s
    names = tuple(arm.name for arm in plan.arms)
    every, worst = slice(None, None, max(1, requests // SAMPLE)), 0.0
    rows: list[dict[str, Any]] = [
        {
            "device": gpu_name(device) or "cpu",
            "requests": requests,
            "readers": size.readers,
            "world_s": world_s,
        }
    ]
    with tempfile.TemporaryDirectory(prefix="laser-ab-quick-") as folder:
        timed = on_device(size, device, names, folder)
        wall_s = max(row["ended"] for row in timed) - min(row["began"] for row in timed)
        for row in timed:
            kept = {key: row[key] for key in ("arm", "first_s", "peak_gb")}
            rows.append({**kept, "all_s": row["ended"] - row["began"]})
            print(rows[-1], file=sys.stderr, flush=True)
        models = weights(plan, Path(folder))
        for arm in plan.arms:
            expected, cpu_s = scored(plan, arm, models, Path(folder) / f"{arm.name}-cpu", every)
            probabilities = np.load(Path(folder) / arm.name / "probabilities.npy")
            apart = float(np.abs(probabilities[every] - expected).max())
            rows.append({"arm": arm.name, "on_cpu": len(expected), "cpu_s": cpu_s, "largest_change": apart})
            worst = max(worst, apart)
    per_request_ms = 1e3 * wall_s / (requests * len(names))
    rows.append({"arms": len(names), "wall_s": wall_s, "ms_per_request": per_request_ms})
    bars = [bar("quick_change", worst, 1e-3, better="lower")]
    if resolve_device(device).type == "cuda":
        bars.append(bar("quick_speedup", BEFORE_MS / per_request_ms, 40.0))
    return rows, bars


def command() -> int:
    """Parse, measure, print."""
    parser = options(__doc__)
    parser.add_argument("--device", default="auto", help="where all requests are scored")
    parser.add_argument("--requests", type=int, default=None, help="100,000 by default")
    parser.add_argument("--readers", type=int, default=None, help="processes that read ahead for each arm")
    parser.add_argument("--users", type=int, default=None, help="20,000 by default")
    parser.add_argument(
        "--profile", action="store_true", help="print where each arm's process spends its time"
    )
    args = parser.parse_args()
    os.environ[BOUND_VARIABLE] = "0"  # scores of an earlier call are not this one's
    requests = args.requests or (2_000 if args.quick else 100_000)
    readers = args.readers
    if readers is None:  # what a run with a job for each core has
        readers = max(len(os.sched_getaffinity(0)) - ARMS, 0) // ARMS
    size = Size(requests, args.users, args.quick, readers, args.profile)
    show("quick_world", SEED, args, measure(size, args.device))
    return 0


if __name__ == "__main__":
    sys.exit(command())
