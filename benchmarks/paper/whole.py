"""An experiment carried out by the product's own functions, in parts if need be, and what its folder says.

Start at `carried_out`, which begins it or goes on with it, then `measured`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.result import Measured, bar
from simulator.analysis.breakdown.whole import breakdown_of
from simulator.arms.forecast import forecast
from simulator.config.load import load_config
from simulator.execution.environment import hardware
from simulator.execution.interrupts import Interrupted, stops_at_checkpoints
from simulator.execution.progress import Progress
from simulator.experiment.run import resume_experiment, run_experiment
from simulator.results.days import days_of
from simulator.results.read import CONFIG, Run, read_run
from simulator.results.scorecard import effects, verdict_of
from simulator.results.small import make_small

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SAY_EVERY_S = 5.0


@dataclass(frozen=True)
class Experiment:
    """One of the two.

    Attributes:
        name: of its run folder. file: of its settings.
        quick: settings in place of those, for minutes on a CPU.
        minutes: bar and stretch for all of it; None where there is none.
    """

    name: str
    file: Path
    quick: tuple[str, ...]
    minutes: tuple[float, float] | None


_QUICK = (
    "traffic.world.users=1000",
    "traffic.world.requests=5000",
    "traffic.world.history_max=200",
    "traffic.world.log_requests=10",
)
EXPERIMENTS = {
    "run": Experiment("paper", EXAMPLES / "paper.toml", _QUICK, (9.0, 5.0)),
    "second": Experiment("papers-arms", EXAMPLES / "papers-arms.toml", _QUICK, None),
}


def carried_out(
    experiment: Experiment,
    folder: Path,
    quick: bool,
    settings: Sequence[str],
    minutes: float,
    jobs: int | None,
) -> bool:
    """Begin an experiment, or go on with it.

    Args:
        folder: the run folder; where one is there already, it is taken up.
        settings: `KEY=VALUE`, in place of the file's.
        minutes: after which it stops at its next checkpoint.
        jobs: worker processes; None: this process's cores.

    Returns:
        Whether it is finished. What every part took is noted beside the folder.
    """
    shown = _Lines()
    overrides = [*(experiment.quick if quick else ()), *settings]
    config = load_config(experiment.file, overrides, environment={})
    jobs = jobs or int(hardware()["cores"])
    alarm = threading.Timer(60.0 * minutes, os.kill, (os.getpid(), signal.SIGINT))
    alarm.daemon = True
    alarm.start()
    finished = True
    start_s = time.perf_counter()
    try:
        with stops_at_checkpoints():
            if (folder / "manifest.json").is_file():
                resume_experiment(folder, jobs=jobs, progress=shown)
            else:
                run_experiment(config, folder, jobs=jobs, progress=shown)
    except Interrupted:
        finished = False
    finally:
        alarm.cancel()
    shown.end()
    _note(folder, time.perf_counter() - start_s)
    return finished


class _Lines(Progress):
    """A line a stage and every few seconds, with the seconds so far."""

    def __init__(self) -> None:
        self._start_s = self._said_s = time.perf_counter()
        self._last = ""

    def stage(self, name: str, done: int, total: int) -> None:
        """See `Progress`."""
        now_s = time.perf_counter()
        text = f"{name}: {done:,} of {total:,}"
        if name not in self._last or done >= total or now_s - self._said_s > SAY_EVERY_S:
            print(f"{now_s - self._start_s:8.1f} s  {text}", file=sys.stderr, flush=True)
            self._said_s = now_s
        self._last = text

    def end(self) -> None:
        """The last line."""
        print(f"{time.perf_counter() - self._start_s:8.1f} s  end", file=sys.stderr, flush=True)


def _parts(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.parts.json")


def _note(folder: Path, seconds: float) -> None:
    """Add a part to those that were noted: a folder that goes on counts its stages anew."""
    known = _known_parts(folder)
    stages = read_run(folder).stages
    if not known or known[-1]["stages"] != stages:
        known.append({"seconds": round(seconds, 2), "stages": stages})
        _parts(folder).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def _known_parts(folder: Path) -> list[dict[str, Any]]:
    with suppress(FileNotFoundError):
        known: list[dict[str, Any]] = json.loads(_parts(folder).read_text(encoding="utf-8"))
        return known
    return []


def shrunk(folder: Path, out: Path, commit: str | None) -> None:
    """Write the small form of a finished run, ready to be shipped."""
    manifest = read_run(folder).manifest
    machine = manifest["hardware"]
    where = machine.get("gpu") or machine.get("cpu")
    notes = {"shipped": f"{manifest['name']} at full size, run on {machine['cores']} cores and {where}"}
    answers = {"breakdown": breakdown_of(read_run(folder))}
    make_small(folder, out, notes | ({"commit": commit} if commit else {}), answers)
    (out / "run.lock").unlink(missing_ok=True)  # nobody runs it any more


def measured(folder: Path, experiment: Experiment) -> Measured:
    """Rows and bars of a finished run."""
    run = read_run(folder)
    parts = _known_parts(folder)
    minutes = sum(part["seconds"] for part in parts) / 60.0
    rows = [_size(run, minutes, len(parts)), *_stages(parts), *_effects(run), *_arms(run), *_days(run)]
    bars = []
    if experiment.minutes is not None:
        most, stretch = experiment.minutes
        bars.append(bar("paper_minutes", minutes, most, stretch, "lower"))
    return rows, bars


def _size(run: Run, minutes: float, parts: int) -> dict[str, Any]:
    card = run.scorecard or {}
    days = days_of(run)
    inside = days.filter(pc.equal(days["period"].cast(pa.string()), "experiment"))
    return {
        "part": "experiment",
        "name": run.name,
        "requests": run.manifest["files"]["served.parquet"]["rows"] // len(run.arms),
        "users": sum(arm["units"] for arm in card["arms"].values()),
        "days": len(set(inside["day"].to_pylist())),
        "verdict": card["verdict"]["decision"],
        "text": card["verdict"]["text"],
        "srm_p": card["srm"]["p_value"],
        "budget_ms": card["budget_ms"],
        "profile_machine": card["profile_machine"],
        "truth": card.get("truth"),
        "foretold_mde": forecast(load_config(run.path / CONFIG, [], environment={})).detectable_lift,
        "minutes": minutes,
        "in_parts": parts,
    }


def _stages(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Seconds of every stage, over all parts."""
    found: dict[str, dict[str, Any]] = {}
    for stage in (stage for part in parts for stage in part["stages"]):
        row = found.setdefault(stage["name"], {"part": "stage", "stage": stage["name"]})
        for key in ("seconds", "cpu_s"):
            row[key] = round(row.get(key, 0.0) + (stage.get(key) or 0.0), 2)
        row["peak_gib"] = max(row.get("peak_gib", 0.0), stage.get("peak_gib") or 0.0)
    return list(found.values())


def _effects(run: Run) -> list[dict[str, Any]]:
    card = run.scorecard or {}
    names = ("metric", "arm", "unit", "control", "treatment", "lift", "ci_low", "ci_high", "level", "p_value",
             "true_lift", "true_se", "mde", "n", "method")  # fmt: skip
    return [
        {"part": "effect", **{name: getattr(effect, name) for name in names},
         "decision": verdict_of(card, effect.arm)["decision"]}
        for effect in effects(card)
    ]  # fmt: skip


def _arms(run: Run) -> list[dict[str, Any]]:
    """What each arm was, how well its model ranks, and how it served."""
    card, rows = run.scorecard or {}, []
    served = run.table("served", ["arm", "store_start_ms", "store_end_ms"])
    for arm in run.arms:
        entry = card["arms"][arm["name"]]
        mine = served.filter(pc.equal(served["arm"].cast(pa.string()), arm["name"]))
        reading = pc.drop_null(pc.subtract(mine["store_end_ms"], mine["store_start_ms"])).to_numpy()
        notes = (run.manifest.get("arm_notes") or {}).get(arm["name"]) or {}
        quantiles = np.percentile(reading, [50, 99]) if len(reading) else (None, None)
        rows.append(
            {
                "part": "arm",
                **arm,
                **{name: entry["model"].get(name) for name in ("auc", "gauc", "truth_weighted_auc", "pcoc")},
                **entry["latency"],
                "own_model_share": entry.get("own_model_share"),
                "bottleneck": entry["serving"]["bottleneck"],
                "requests_per_s": entry["serving"]["requests_per_s"],
                "store_p50_ms": quantiles[0],
                "store_p99_ms": quantiles[1],
                "summary": notes.get("summary"),
            }
        )
    return rows


def _days(run: Run) -> list[dict[str, Any]]:
    """ADVV per request of every arm and day, as shown and expected."""
    return [
        {
            "part": "day",
            "arm": day["arm"],
            "day": day["day"],
            "requests": day["requests"],
            "advv_per_request": day["advv"] / day["requests"] if day["requests"] else None,
            "true_advv_per_request": day["expected_advv"] / day["true_requests"],
        }
        for day in days_of(run).to_pylist()
        if day["true_requests"]
    ]
