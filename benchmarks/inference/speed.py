"""How fast a table of events is analysed: one process, one core, its CPU seconds and its peak memory.

    python benchmarks/inference/speed.py ours|tea-tasting FILE

prints {"wall_s", "cpu_s", "peak_gb", "lift"}; coverage.py makes the file and calls this.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

METRICS = 10


def write_events(path: Path, rows: int, seed: int) -> None:
    """Events of rows / 20 units in two arms: a metric's numerator and its covariate, ten times over."""
    rng, per_group = np.random.default_rng(seed), 1_000_000
    names = ["user", "arm", "one", *(f"{kind}{i}" for i in range(METRICS) for kind in ("y", "x"))]
    kinds = [pa.uint64(), pa.string(), pa.int8(), *[pa.float32()] * (2 * METRICS)]
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for start in range(0, rows, per_group):
            n = min(per_group, rows - start)
            user = rng.integers(0, max(4, rows // 20), n).astype(np.uint64)
            taste = (user * np.uint64(2654435761) % np.uint64(1000)).astype(np.float64) / 1000
            columns: list[Any] = [user, np.where(user % 2 == 1, "t", "c"), np.ones(n, np.int8)]
            for _ in range(METRICS):
                columns += [(rng.random(n) < 0.1 + 0.2 * taste).astype(np.float32) for _ in range(2)]
            file.write_table(pa.table(columns, schema=schema))


def ours(path: Path) -> float:
    """Lift of the first metric, by `laser-ab analyze`'s own function."""
    from simulator.analysis.metrics import parse_metrics
    from simulator.outside.analyze import Analysis, analyze

    metrics = parse_metrics([f"m{i}=y{i}/one" for i in range(METRICS)], [f"x{i}/one" for i in range(METRICS)])
    card = analyze(path, Analysis(unit="user", arm="arm", control="c", metrics=metrics))
    return float(card["metrics"]["m0"]["lift"])


def tea_tasting(path: Path) -> float:
    """The same by tea-tasting, on units added up by Arrow."""
    import tea_tasting as tt

    names = [f"{kind}{i}" for i in range(METRICS) for kind in ("y", "x")]
    table = pq.read_table(path)
    units = table.group_by(["user", "arm"]).aggregate([(name, "sum") for name in ["one", *names]])
    frame = units.to_pandas()
    frame["one_before"] = frame["one_sum"]  # it refuses a denominator that is its own covariate's
    metrics = {
        f"m{i}": tt.RatioOfMeans(f"y{i}_sum", "one_sum", f"x{i}_sum", "one_before") for i in range(METRICS)
    }
    found = tt.Experiment(metrics, variant="arm").analyze(frame, control="c")
    return float(found["m0"].rel_effect_size)


def peak_gb() -> float:
    """This process's largest memory so far; getrusage's would be its parent's where that was larger."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024**2


if __name__ == "__main__":
    which, file = sys.argv[1], Path(sys.argv[2])
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    work = {"ours": ours, "tea-tasting": tea_tasting}[which]
    start_s, cpu_s = time.perf_counter(), time.process_time()
    lift = work(file)
    print(
        json.dumps(
            {
                "wall_s": time.perf_counter() - start_s,
                "cpu_s": time.process_time() - cpu_s,
                "peak_gb": peak_gb(),
                "lift": lift,
            }
        )
    )
