"""A live experiment with the models on a device: what it costs there, and that it scores as the CPU does.

    python benchmarks/gpu_live.py [--quick] [--json] [--out FILE]

Runs the design of examples/demo.toml with live service times, on the first GPU if there is one, else on the
CPU (the row says which). Store reads, transport and scoring are real calls; each request's scores are then
computed again on the CPU and compared in probability.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _result import Measured, bar, main

from laser.checkpoint import load
from laser.scoring.device import gpu_name
from laser.scoring.runtime import Scorer
from simulator.experiment.config import load_config
from simulator.experiment.prepare import Prepared, prepare
from simulator.experiment.run import run_experiment
from simulator.experiment.training import arm_specs
from simulator.experiment.value_plane import MODEL_COLUMNS, open_arm_store, ranking_batch
from simulator.results.read import Run, read_run

ROOT = Path(__file__).resolve().parents[1]
SEED = 7
COMPARED = 256


def live_run(quick: bool, out: Path) -> tuple[Run, Prepared, float]:
    """Run the experiment; the folder, its inputs and the seconds it took."""
    size = ["traffic.world.users=600", "traffic.world.requests=2000"] if quick else []
    settings = ["experiment.service_times=live", "experiment.device=auto", *size]
    config = load_config(ROOT / "examples" / "demo.toml", settings, environment={})
    start_s = time.perf_counter()
    folder = run_experiment(config, out)
    return read_run(folder), prepare(config), time.perf_counter() - start_s


def stage_rows(run: Run) -> list[dict[str, Any]]:
    """Latency of every stage of each arm, over the requests that reached it, ms."""
    served = run.table("served").to_pandas()
    rows = []
    for arm, part in served.groupby("arm", observed=True):
        stages = {
            "store": part.store_end_ms - part.store_start_ms,
            "transport": part.transport_end_ms - part.transport_start_ms,
            "scorer queue": part.score_start_ms - part.transport_end_ms,
            "scoring": part.score_end_ms - part.score_start_ms,
            "whole": part.latency_ms,
        }
        for stage, ms in stages.items():
            values = ms.dropna().to_numpy()
            p50, p99 = np.quantile(values, (0.5, 0.99)) if len(values) else (np.nan, np.nan)
            rows.append({"arm": arm, "stage": stage, "n": len(values), "p50_ms": p50, "p99_ms": p99})
    return rows


def work_rows(run: Run, took_s: float) -> list[dict[str, Any]]:
    """Requests a second of live work, and the share of it that scoring takes."""
    rows = []
    for arm, notes in run.manifest["arm_notes"].items():
        store_s = notes["store_own_s"] + notes["store_binding_s"]
        busy_s = store_s + notes["transport_s"] + notes["score_s"]
        served = run.table("served").to_pandas()
        requests = int((served.arm == arm).sum())
        rows.append(
            {
                "arm": arm,
                "requests": requests,
                "requests_per_busy_s": requests / busy_s,
                "scoring_share": notes["score_s"] / busy_s,
                "store_share": store_s / busy_s,
                "binding_share_of_store": notes["binding_share"],
            }
        )
    rows.append({"whole_run_s": took_s, "device": gpu_name() or "cpu"})
    return rows


def largest_difference(run: Run, prepared: Prepared, folder: Path) -> float:
    """Largest difference in probability between the device and the CPU: treatment, full history."""
    name = prepared.config.arm_names[1]
    spec = arm_specs(prepared.config, name)[0]
    path = run.path / "models" / f"{spec.key}.ckpt"
    scorers = [Scorer(load(path)[0], device) for device in ("auto", "cpu")]
    rows = np.linspace(0, len(prepared.requests) - 1, COMPARED).astype(np.int64)
    worst = 0.0
    with open_arm_store(prepared, name, folder) as store:
        store.ingest(int(prepared.readable_before_s.max()))
        for row in rows:
            history = store.store.read_last(
                prepared.requests.user_id[row : row + 1],
                spec.history,
                before_s=int(prepared.readable_before_s[row]),
                columns=MODEL_COLUMNS,
            )
            batch = ranking_batch(prepared, np.array([row]), history)
            one, other = (1 / (1 + np.exp(-scorer.score(batch).astype(float))) for scorer in scorers)
            worst = max(worst, float(np.abs(one - other).max()))
    return worst


def measure(quick: bool) -> Measured:
    """Run, and compare."""
    folder = Path(tempfile.mkdtemp(prefix="laser-ab-gpu-"))
    try:
        run, prepared, took_s = live_run(quick, folder / "run")
        rows = [*work_rows(run, took_s), *stage_rows(run)]
        rows.append({"missed_share": run.scorecard["arm_values"]["treatment"]["missed_share"]["value"]})
        worst = largest_difference(run, prepared, folder / "store")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows, [bar("largest |p(device) - p(CPU)|", worst, 1e-3, better="lower")]


if __name__ == "__main__":
    main("gpu_live", __doc__, SEED, measure)
