"""Is the rival tuned? RocksDB's layouts A and C with other settings: bytes, warm CPU and cold wall of a read.

    python benchmarks/stores/rivals.py [--quick] [--json] [--out FILE]

Layout B has none to try: its block is its blob. Every request goes to every variant in random order. `ahead
n` reads n bytes ahead for each behaviour asked for; without it RocksDB doubles by itself. What the other
benchmarks use is the first row of each layout: smaller tables cost CPU, faster reads cost far more bytes.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Measured, main
from benchmarks.stores.harness.clock import own_core
from benchmarks.stores.harness.engines import ALL, RocksEngine, draw_requests, interleaved
from benchmarks.stores.harness.generator import Histories, draw
from benchmarks.stores.harness.rocks import COLD, TUNED, Rocks, missing, write_source

SEED = 7
NS = {200: "200", 1000: "1k", 10_000: "10k", ALL: "full"}
VARIANTS: dict[str, dict[str, object]] = {
    "as used": {},
    "blocks of 4 KB": {"block_kb": 4},
    "blocks of 32 KB": {"block_kb": 32},
    "blocks of 64 KB": {"block_kb": 64},
    "restarts every 64": {"restart": 64},
    "ahead 0": {"ahead_row_bytes": 0},
    "ahead 12": {"ahead_row_bytes": 12},
    "ahead 24": {"ahead_row_bytes": 24},
    "ZSTD-1": {"level": 1},
    "LZ4": {"compression": "lz4"},
    "uncompressed": {"compression": "none"},
    "uncompressed, mapped": {"compression": "none", "mmap": 1},
    "2 GB of cache": {"cache_mb": 2048},
}


def folder(made: Path, layout: str, variant: str) -> Path:
    """Where a variant of a layout lies."""
    return made / f"{layout}-{list(VARIANTS).index(variant)}"


def measured(
    layout: str, histories: Histories, rocks: Rocks, made: Path, count: int, *, cold: bool
) -> dict[tuple[str, int], float]:
    """Mean µs by variant and n: CPU when warm, wall when cold."""
    rng = np.random.default_rng(SEED)
    requests = [r for n in NS for r in draw_requests(histories, n, count if n < ALL else count // 2, rng)]
    rng.shuffle(requests)
    engines = []
    for name, tuning in VARIANTS.items():
        if cold and ("mmap" in tuning or "cache_mb" in tuning):
            continue  # mapped files have no direct reads; what is cached is not read
        words: dict[str, object] = {
            "cache_mb": 8 * histories.rows / 19.7e6,
            "rows": int(histories.lengths.max()),
        }
        words |= (COLD if cold else {}) | tuning
        engines.append(RocksEngine(name, rocks, rocks.open(folder(made, layout, name), layout, 4, **words)))
    asked = dict.fromkeys(NS, engines)
    interleaved(asked, requests, rng)
    found = {}
    for (name, n), took in interleaved(asked, requests, rng).items():
        mean_ns = float(np.mean([t.wall_ns if cold else t.cpu_ns for t in took]))
        found[name, n] = round(mean_ns / 1e3, 1)
    for engine in engines:
        rocks.close(engine.handle)
    return found


def measure(quick: bool) -> Measured:
    """One row a layout and variant."""
    reason = missing()
    if reason is not None:
        return [{"engine": "A, C", "value": None, "reason": reason}], []
    histories = draw(60 if quick else 500, SEED)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as made_in, ExitStack() as running:
        made, rocks = Path(made_in), running.enter_context(Rocks())
        running.enter_context(own_core(rocks.process_id))
        source = write_source(histories, made / "source")
        for layout in "AC":
            sizes = {
                name: rocks.load(folder(made, layout, name), source, layout, 4, **tuning)["bytes"]
                for name, tuning in VARIANTS.items()
            }
            count = 20 if quick else 150
            warm = measured(layout, histories, rocks, made, count, cold=False)
            cold = measured(layout, histories, rocks, made, count, cold=True)
            for name, tuning in VARIANTS.items():
                row: dict[str, Any] = {
                    "layout": layout,
                    "tuning": name,
                    "settings": {**TUNED[layout], **tuning},
                }
                row["bytes_per_behaviour"] = round(sizes[name] / histories.rows, 2)
                row |= {f"cpu_us_{label}": warm[name, n] for n, label in NS.items()}
                row |= {f"cold_us_{label}": cold.get((name, n)) for n, label in NS.items()}
                rows.append(row)
    return rows, []


if __name__ == "__main__":
    main("store_rivals", __doc__, SEED, measure)
