"""Two GPUs: two replicas serve nearly twice as many requests with equal scores, and train to the loss of
one.

    python benchmarks/serving/two_gpus.py [--devices cuda:0,cuda:1] [--quick] [--json] [--out FILE]

Replicas are processes, one a device, that score LASER-1000 at 32 candidates in the value plane's shapes:
first one of them alone, then both in the same seconds. Training goes through torchrun, by one process and
by two, from the same seed. Where there are fewer devices than asked for, a row says so.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.result import Measured, bar, options, show
from benchmarks.serving.served import Case, model_of
from benchmarks.serving.value_plane import pools_of
from laser.examples import ExampleSet
from laser.models import ModelConfig
from laser.scoring.buckets import BucketScorer
from laser.training.config import TrainConfig
from laser.training.loop import train
from laser.training.parallel import rank

SEED = 1
CASE = Case("laser", 1000, 32)
QUICK_CASE = Case("laser", 50, 8)


def replica(device: str, quick: bool, start_at: float) -> None:
    """Score for some seconds from a moment on; print the rate and a digest of the scores."""
    case, seconds = (QUICK_CASE, 0.5) if quick else (CASE, 3.0)
    model = model_of(case)
    scorer, pools = BucketScorer(model, device), pools_of(model, case, 64 if quick else 2048)
    digest = sha256(scorer.score(pools[0], case.history).logits.tobytes()).hexdigest()
    time.sleep(max(0.0, start_at - time.time()))
    done, start_s = 0, time.perf_counter()
    while time.perf_counter() - start_s < seconds:
        scorer.score(pools[done % len(pools)], case.history)
        done += 1
    rps = done * len(pools[0]) / (time.perf_counter() - start_s)
    print(json.dumps({"device": device, "rps": rps, "scores": digest, "late_s": time.time() - start_at}))


def replicas(devices: list[str], quick: bool) -> list[dict[str, Any]]:
    """Replicas that score in the same seconds."""
    start_at = time.time() + (12.0 if quick else 25.0)
    command = [sys.executable, "-m", "benchmarks.serving.two_gpus", "--start-at", str(start_at)]
    command += ["--quick"] if quick else []
    running = [
        subprocess.Popen([*command, "--replica", device], stdout=subprocess.PIPE, text=True)
        for device in devices
    ]
    found = []
    for process in running:
        told = process.communicate(timeout=120)[0]
        if process.returncode != 0:
            raise RuntimeError(f"a replica ended with {process.returncode}, expected 0; see above.")
        found.append(json.loads(told.splitlines()[-1]))
    return found


def examples_of(requests: int, length: int) -> ExampleSet:
    """Requests whose clicks follow from their history: categories seen more often are clicked more."""
    rng = np.random.default_rng(SEED)
    category = rng.integers(1, 40, size=requests * length).astype(np.uint16)
    ends = np.arange(1, requests + 1) * length
    ad = rng.integers(0, 100, size=(requests, 8))
    ad_category = ad % 40
    histories = category.reshape(requests, length)
    seen = np.stack([(histories == ad_category[:, [c]]).sum(axis=1) for c in range(ad.shape[1])], axis=1)
    label = rng.random(ad.shape) < 0.05 + 0.3 * (seen > seen.mean())
    times = np.tile(np.arange(length) * 600, requests)
    return ExampleSet(
        category=category,
        action=rng.integers(0, 3, size=len(category)).astype(np.uint8),
        scene=rng.integers(0, 3, size=len(category)).astype(np.uint8),
        dwell_s=rng.integers(0, 90, size=len(category)).astype(np.uint16),
        time_s=times,
        history_start=ends - length,
        history_end=ends,
        request_time_s=np.full(requests, length * 600 + 60) + np.arange(requests),
        ad=ad,
        ad_category=ad_category,
        position=np.zeros_like(ad),
        label=label.astype(np.uint8),
        hour=rng.uniform(0, 24, requests),
        propensity=rng.normal(size=requests),
        user=np.arange(requests),
    )


def training(out: Path, quick: bool, device: str) -> None:
    """What every process of torchrun does; the first writes the losses and the seconds."""
    length = 40 if quick else 300
    examples = examples_of(240 if quick else 20_000, length)
    config = ModelConfig("laser", 40, 100, 3, 3, 16)
    how = TrainConfig(length, batch=48 if quick else 512, learning_rate=1e-3, device=device)
    losses: list[float] = []
    start_s = time.perf_counter()
    train(config, how, examples, SEED, progress=lambda done, total, loss: losses.append(loss))
    if rank() == 0:
        out.write_text(json.dumps({"losses": losses, "train_s": time.perf_counter() - start_s}))


def trained(processes: int, quick: bool, device: str, folder: Path) -> dict[str, Any]:
    """One training by torchrun."""
    out = folder / f"{processes}.json"
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    command = ["-m", "benchmarks.serving.two_gpus", "--train", str(out), "--train-device", device]
    subprocess.run([*launcher, *command, *(["--quick"] if quick else [])], check=True, timeout=150)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def measure(args: argparse.Namespace) -> Measured:
    """Replicas, then training."""
    devices = args.devices.split(",")
    present = torch.cuda.device_count()
    if any(d.startswith("cuda") for d in devices) and present < len(devices):
        return [{"skipped": f"found {present} GPUs, expected {len(devices)}"}], []
    rows: list[dict[str, Any]] = []
    bars = []
    try:
        (one,), both = replicas(devices[:1], args.quick), replicas(devices, args.quick)
        rows += [{"replicas": 1, **one}, *({"replicas": len(devices), **found} for found in both)]
        bars.append(bar("two_replicas", sum(found["rps"] for found in both) / one["rps"], 1.8))
        unequal = sum(found["scores"] != one["scores"] for found in both)
        bars.append(bar("two_replicas_unequal", float(unequal), 0.0, better="lower"))
    except Exception as error:  # training is worth its device time all the same
        rows.append({"failed": "replicas", "because": str(error)})
    device = "cuda" if devices[0].startswith("cuda") else "cpu"
    with tempfile.TemporaryDirectory(prefix="laser-ab-two-") as folder:
        single, double = (trained(n, args.quick, device, Path(folder)) for n in (1, len(devices)))
    apart = float(np.abs(np.array(single["losses"]) / np.array(double["losses"]) - 1.0).max())
    rows += [
        {"processes": n, "train_s": t["train_s"], "first_loss": t["losses"][0], "last_loss": t["losses"][-1]}
        for n, t in ((1, single), (len(devices), double))
    ]
    bars.append(bar("two_train_loss", apart, 1e-3, better="lower"))
    return rows, bars


def command() -> int:
    """Parse, and measure or be one of the processes."""
    parser = options(__doc__)
    parser.add_argument("--devices", default="cuda:0,cuda:1", help="one for each replica")
    parser.add_argument("--replica", help=argparse.SUPPRESS)
    parser.add_argument("--start-at", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--train-device", default="cuda", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.replica:
        replica(args.replica, args.quick, args.start_at)
    elif args.train:
        training(args.train, args.quick, args.train_device)
    else:
        show("two_gpus", SEED, args, measure(args))
    return 0


if __name__ == "__main__":
    sys.exit(command())
