"""How fast rows of a table become a log: CSV and Parquet, in rows per CPU second, with the most memory.

    python benchmarks/simulation/import_speed.py [--rows N ...] [--out FILE] [--json] [--quick]

A log is generated, 200 impressions of each user on average, as Parquet and, of the first size, as CSV. It is
read twice: `read` is the reading alone (files to staged rows, with all checks), `import` the whole command,
each in a process of its own. Rows per CPU second are what a quiet core does in a second. Bars are on reading;
memory is of the whole import. `start` is a process that only imports the modules.

Saved is a measurement of 10 and 20 million rows at commit fd91783 on two cores, with tests and runs of
other kinds on both all the while; so CPU seconds count, and nothing measured on another machine belongs
beside them.
- Reading Parquet, 82 ns a row: a bit less than a third each is reading it, and mapping and checking it in
  DuckDB; writing it down is the rest. These cores are quick: read five times in turn on them, 10^7 rows
  took 1.25 CPU seconds (medians, less the start), and 1.72 by the code of 023cdde, which did 4.1 million
  rows a second where it was measured before. A query on a batch takes 4 to 8 ms to plan, so smaller
  batches cost more, and plain or dictionary encodings of the staged rows gain nothing over differences.
- Memory: 1.454 GB at 10^7 rows, 1.459 GB at 2 * 10^7 and, measured by hand with the same code, 1.473 GB
  at 5 * 10^7 of Parquet (152 CPU seconds). The most is the sorting, for which DuckDB has 1 GB before it
  spills; all else holds parts of columns in files, .7 GB whatever the rows. What grows are arrays of
  users and items: of the 500,000 users of 10^8 rows by estimate 50 MB. So by these sizes 10^8 rows take
  about 1.5 GB and 300 CPU seconds; they were not measured, for want of time on busy cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing import get_context
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
FORMS = ("csv", "parquet")
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
from simulator.logs.table.staging.load import load_mapping
from simulator.logs.table.staging.stage import Stage
stage = Stage(load_mapping(Path(sys.argv[1])), Path(sys.argv[2]))
stage.read(lambda *told: None)
"""


def measure(sizes: Sequence[int]) -> Measured:
    """A row for each size, form, and what was done with it."""
    found = [row for number, rows in enumerate(sizes) for row in _measured(rows, FORMS[number > 0 :])]
    return found, bars(found)


def _measured(rows: int, forms: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # In a process of its own: what is started later begins with the memory of this one.
        made = get_context("spawn").Process(target=generate, args=(folder, rows, forms))
        made.start()
        made.join()
        for form in forms:
            map = folder / f"{form}.toml"
            map.write_text(MAP.format(form=form))
            size = (folder / f"shown.{form}").stat().st_size
            for what, words in (
                ("start", ["-c", "import simulator.logs.table.staging.stage"]),
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
    return found


def generate(folder: Path, rows: int, forms: Sequence[str]) -> None:
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
    kinds: dict[str, Any] = {"csv": pyarrow.csv.CSVWriter, "parquet": pq.ParquetWriter}
    with ExitStack() as stack:
        writers = [stack.enter_context(kinds[form](folder / f"shown.{form}", schema)) for form in forms]
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
            for writer in writers:
                writer.write_table(batch)


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
    """Rows per CPU second of reading the largest file, its start left out, and the import's memory."""
    by = {(row["form"], row["what"]): row for row in sorted(rows, key=lambda row: row["rows"])}
    found = []
    for form, least in (("csv", 1e6), ("parquet", 5e6)):
        read_s = by[form, "read"]["cpu_s"] - by[form, "start"]["cpu_s"]
        found.append(bar(f"import_{form}_rows_per_s", by[form, "read"]["rows"] / read_s, least))
    most = max(row["peak_gb"] for row in rows)
    return [*found, bar("import_peak_gb", most, 2.0, better="lower")]


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="+", help=f"ascending; {ROWS:,} by default, {QUICK_ROWS:,} with --quick"
    )
    args = parser.parse_args()
    show("import_speed", SEED, args, measure(args.rows or [QUICK_ROWS if args.quick else ROWS]))
