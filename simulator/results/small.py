"""A finished run made small: a few MB that reports and the dashboard show as they show the run. `make_small`.

Kept as they are: the scorecard, the resolved file, the ledger, and the manifest with what it says of stages,
models and machine. Of the long tables two remain: `days`, what they add up to for each arm and day, and of
`served` every N-th request, with its times to the microsecond, for pictures. The latencies of `days` and all
figures of the scorecard are of every request.

Answers to what was asked of the whole run (`laser-ab breakdown`) may go with it, as asked/COMMAND.json.

The package itself ships a run in this form, to look at before any was made here: `shipped_runs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.results.days import days_columns
from simulator.results.errors import ResultsError
from simulator.results.files import json_text
from simulator.results.read import CONFIG, Run, list_runs, read_run
from simulator.results.run_folder import RunWriter
from simulator.results.schemas import SCHEMAS

SHIPPED = Path(__file__).resolve().parents[1] / "shipped"
ASKED = "asked"  # in a small run: the folder of answers that the whole one gave
_SAMPLE = 10_000  # requests of `served` that are kept in every arm, about
# Written anew, or about files that are not there.
_OWN = ("schema_version", "kind", "status", "created", "finished", "files", "error", "resumable")


def shipped_runs() -> list[Run]:
    """The runs that come with the package, made small; none where it was built without them."""
    return list_runs(SHIPPED)


def make_small(
    source: Path,
    out: Path,
    notes: Mapping[str, Any] | None = None,
    answers: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write a finished run's small form.

    Args:
        source: the run's folder.
        out: the new folder; must not exist, or be empty.
        notes: further entries of the manifest.
        answers: about the whole run, by command.

    Returns:
        `out`.

    Raises:
        ResultsError: the run is not finished or small already, a table is damaged, or `out` is taken.
    """
    run = read_run(source)
    if run.status != "finished" or run.scorecard is None:
        raise ResultsError(
            source, f"found a run that is {run.status}, expected a finished one.", "Resume it."
        )
    if "small" in run.manifest:
        raise ResultsError(source, "found a run that was made small, expected a whole one.", "Give that one.")
    kept = {key: value for key, value in run.manifest.items() if key not in _OWN}
    kept["inputs"] = _without_folders(kept.get("inputs", {}))
    files = run.manifest["files"].items()
    rows = {name.removesuffix(".parquet"): entry["rows"] for name, entry in files if "rows" in entry}
    served = run.table("served")
    one_in = max(1, len(served) // len(run.arms) // _SAMPLE)
    small = {"created": run.created, "served_one_in": one_in, "rows": rows}
    text = (source / CONFIG).read_text(encoding="utf-8")
    with RunWriter.create(out, {**kept, **(notes or {}), "small": small}, {CONFIG: text}) as writer:
        writer.manifest["stages"] = run.stages
        writer.write_table("served", _every(served, one_in))
        writer.write_table("days", days_columns(run))
        writer.write_table("ledger", run.table("ledger"))
        for command, answer in (answers or {}).items():
            writer.write_text(f"{ASKED}/{command}.json", json_text(answer))
        writer.write_scorecard(run.scorecard)
        writer.finish()
    return out


def _without_folders(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's inputs with files by their names alone: where they lay says nothing elsewhere."""
    files = {Path(name).name: digest for name, digest in inputs.get("files", {}).items()}
    return {**inputs, "files": files}


def _every(served: pa.Table, one_in: int) -> pa.Table:
    """Every n-th request of every arm, the same ones, with its times rounded to a microsecond."""
    ids = np.unique(served["request_id"].to_numpy())[::one_in]
    some = served.filter(pc.is_in(served["request_id"], pa.array(ids)))
    columns = {}
    for field in SCHEMAS["served"]:
        column = some[field.name]
        digits = 3 if field.name.endswith("_ms") else 6 if field.name.endswith("_s") else None
        columns[field.name] = column if digits is None else pc.round(column, digits)
    return pa.table(columns)
