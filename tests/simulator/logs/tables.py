"""Small logs of a made-up shop, as rows, and in the forms that a mapping reads."""

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAY_S = 86_400
MIDNIGHT_S = 1_767_225_600  # 1 January 2026, 00:00 UTC

MAP = """
[source]
name = "shop"
files = ["shown.*"]
time_zone = "UTC"

[impressions]
user = "uid"
time = {column = "ts", unit = "s"}
item = "creative"
click = "clicked"
"""


def shown(
    rows: int = 900, users: int = 30, items: int = 40, days: int = 6, seed: int = 3
) -> list[dict[str, Any]]:
    """Exposures in order of time; every day and the first moment of the log have some."""
    rng = np.random.default_rng(seed)
    at = np.sort(rng.integers(0, days * DAY_S, rows))
    at[0], at[-1] = 0, days * DAY_S - 1
    found = []
    for second in at.tolist():
        item = int(rng.integers(items))
        clicked = int(rng.random() < 0.2 + 0.4 * (item % 3 == 0))
        bought = int(clicked and rng.random() < 0.4)
        found.append(
            {
                "uid": int(rng.integers(1, users + 1)),
                "ts": MIDNIGHT_S + second,
                "creative": item + 100,
                "clicked": clicked,
                "bought": bought,
                "vertical": f"v{item % 4}",
                "account": item % 7,
                "slot": int(rng.integers(1, 4)),
            }
        )
    return found


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Rows as a file of the form that its name tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path, row_group_size=100)
        return path
    if ".jsonl" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        lines = [list(rows[0]), *([row[name] for name in rows[0]] for row in rows)]
        text = _csv(lines)
    data = text.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def _csv(lines: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
