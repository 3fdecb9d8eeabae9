"""How fast rows of a table become a log: CSV and Parquet, in rows per CPU second, with the most memory.

    python benchmarks/simulation/import_speed.py [--rows N] [--out FILE] [--json] [--quick]

A log is generated, 200 impressions of each user on average, as CSV and as Parquet. It is read twice: `read`
is the reading alone (files to staged rows, with all checks), `import` the whole command, each in a process of
its own. Rows per CPU second are what a quiet core does in a second. Bars are on reading; memory is of the
whole import. A process begins with the memory of this one, so a peak equal to that of `start` is a bound.

Saved is a measurement of 20 million rows, beside other work on both cores. What limits it:
- Parquet, 4.1 million rows per CPU second (bar 5): a row's 240 ns are, by about a third each, reading it,
  mapping and checking it in DuckDB, and writing it down. A table of DuckDB's took three times as long, and
  smaller batches and other encodings of the staged rows gained nothing.
- Memory, 4.2 GB (bar 2): the reading holds batches, and of CSV up to 32 blocks that pyarrow reads ahead. But
  an import ends in arrays of all rows: about 180 bytes a row with what they are worked out by, so that 2 GB
  are enough for some 8 million rows, and 10^8 would take 19 GB. Candidates and staged rows are in files
  already. To have less, `RealLog` would have to lie in files and be worked on in parts, as by its readers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.result import Measured, bar, options, show

SEED = 3
ROWS, QUICK_ROWS = 100_000_000, 300_000
EACH = 200  # impressions of a user
DAYS_S = 14 * 86_400
_CHUNK = 1 << 22
MAP = """
[source]
name = "generated"
files = ["shown.{form}"]
time_zone = "UTC"
[impressions]
user = "user"
time = {{column = "time", unit = "s"}}
item = "item"
category = "category"
click = "click"
"""
_READ = """
import sys
from pathlib import Path
from simulator.logs.table.load import load_mapping
from simulator.logs.table.stage import Stage
stage = Stage(load_mapping(Path(sys.argv[1])), Path(sys.argv[2]))
stage.read(lambda *told: None)
"""


def measure(rows: int) -> Measured:
    """A row for each form and what was done with it."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        generate(folder, rows)
        for form in ("csv", "parquet"):
            map = folder / f"{form}.toml"
            map.write_text(MAP.format(form=form))
            size = (folder / f"shown.{form}").stat().st_size
            for what, words in (
                ("start", ["-c", "import simulator.logs.table.stage, simulator.logs.table.load"]),
                ("read", ["-c", _READ, str(map), str(folder / f"stage-{form}")]),
                ("import", ["-m", "simulator.cli", "import", "table", str(map), "--out", str(folder / form)]),
            ):
                cpu_s, peak_gb = spent([sys.executable, *words])
                found.append(
                    {
                        "form": form,
                        "what": what,
                        "rows": rows,
                        "bytes": size,
                        "cpu_s": cpu_s,
                        "peak_gb": peak_gb,
                    }
                )
    return found, bars(found)


def generate(folder: Path, rows: int) -> None:
    """The same rows as shown.csv and shown.parquet, ascending in time."""
    draws = np.random.default_rng(SEED)
    schema = pa.schema(
        {
            "user": pa.int64(),
            "time": pa.int64(),
            "item": pa.int64(),
            "category": pa.int64(),
            "click": pa.int64(),
        }
    )
    users = max(rows // EACH, 2)
    with (
        pyarrow.csv.CSVWriter(folder / "shown.csv", schema) as text,
        pq.ParquetWriter(folder / "shown.parquet", schema) as packed,
    ):
        for start in range(0, rows, _CHUNK):
            n = min(_CHUNK, rows - start)
            item = (20_000 * draws.random(n) ** 2).astype(np.int64)
            columns = {
                "user": draws.integers(1, users + 1, n),
                "time": 1_700_006_400 + (np.arange(start, start + n) * DAYS_S) // rows,
                "item": item,
                "category": item % 200,
                "click": (draws.random(n) < 0.05).astype(np.int64),
            }
            batch = pa.table(columns, schema=schema)
            text.write_table(batch)
            packed.write_table(batch)


def spent(command: list[str]) -> tuple[float, float]:
    """CPU seconds and peak memory, in GB, of a process on one thread.

    Raises:
        RuntimeError: it failed.
    """
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    child = subprocess.Popen(
        command, env=os.environ | one, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command} ended with {child.returncode}, expected 0. Run it by hand.")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9


def bars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows per CPU second of reading, its start left out, and the import's memory."""
    by = {(row["form"], row["what"]): row for row in rows}
    found = []
    for form, least in (("csv", 1e6), ("parquet", 5e6)):
        read_s = by[form, "read"]["cpu_s"] - by[form, "start"]["cpu_s"]
        found.append(bar(f"import_{form}_rows_per_s", by[form, "read"]["rows"] / read_s, least))
    most = max(row["peak_gb"] for row in rows)
    return [*found, bar("import_peak_gb", most, 2.0, better="lower")]


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, help=f"{ROWS:,} by default, {QUICK_ROWS:,} with --quick")
    args = parser.parse_args()
    show("import_speed", SEED, args, measure(args.rows or (QUICK_ROWS if args.quick else ROWS)))
