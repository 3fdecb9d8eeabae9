"""What the package ships of the saved results, for the dashboard: written by `python -m docs.generate`.

designs.json is what `laser-ab designs` says of examples/tight-budgets.toml; models.json is quality and cost
of the model study's models; stores.json is reads, writes and bytes of SeqVault and of LastN. Each names the
machine and commit of its results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from statistics import mean
from typing import Any

from benchmarks.models.gaps import ends
from benchmarks.pages.layout import RESULTS
from benchmarks.pages.stores import NS, engines_of, middle
from benchmarks.pages.study_rows import Row, Study, front, gap, named, worlds_of

BASE = "base"  # the newest 100 behaviours, which every other model is compared with
_READ = ("wall_p50_us", "wall_p99_us", "cpu_mean_us")
_WRITTEN = ("cpu_us", "settled_cpu_us", "million_per_s", "bytes_per_behaviour")


def designs() -> str:
    """In the form of `laser-ab designs --json`."""
    saved = _saved("designs")
    rows: list[Row] = saved["rows"]

    def part(name: str) -> list[Row]:
        return [row for row in rows if row["part"] == name]

    def own(row: Row) -> Row:
        return {key: value for key, value in row.items() if key not in ("part", "what", "design", "units")}

    (choice,) = part("choice")
    found: Row = {
        "name": "tight-budgets",
        **_head(saved),
        "control": "control",
        "treatment": "treatment",
        "assignments": max(row["readings"] for row in part("design")),
        "truth": {row["what"]: own(row) for row in part("truth")},
        "worlds": {row["what"]: own(row) for row in part("world")},
        "designs": {
            row["what"]: {
                "sentence": row["text"],
                "units": next((d["units"] for d in part("design") if d["design"] == row["what"]), None),
                "metrics": {d["what"]: own(d) for d in part("design") if d["design"] == row["what"]},
            }
            for row in part("sentence")
        },
        "choice": {"design": choice["what"], "text": choice["text"]},
    }
    return _text(found)


def models() -> str:
    """Of every model on every world: AUC by the true click probabilities, its lead over BASE in points with
    the 95 % interval over worlds, operations, time of a request by machine and candidates, and whether no
    other is as good and cheaper.
    """
    study = Study.saved(RESULTS)
    rows = study.pool("order")
    found = []
    for world in worlds_of(rows):
        for name in dict.fromkeys(row["name"] for row in rows if row["world"] == world):
            own = named(rows, world, name)
            lead = gap(rows, world, name, BASE)
            interval = None if lead is None else ends(lead)
            found.append(
                {
                    "world": world,
                    "name": name,
                    "history": own[0]["history"],
                    "trainings": len(own),
                    "sauc": mean(row["sauc"] for row in own),
                    "lead_pt": 0.0 if name == BASE else None if lead is None else lead["pt"],
                    "lead_ci_pt": None if name == BASE or interval is None else list(interval),
                    "cost": _costs(study, name, own),
                }
            )
    for world in worlds_of(rows):
        here = [row for row in found if row["world"] == world]
        for key in dict.fromkeys(key for row in here for key in row["cost"]):
            priced = [row for row in here if row["cost"].get(key) is not None]
            best = front((row["name"], row["cost"][key], row["sauc"]) for row in priced)
            for row in priced:
                row.setdefault("front", {})[key] = row["name"] in best
    heads = {name: _head(result) for name, result in study.results.items()}
    return _text({"base": BASE, "sources": heads, "rows": found})


_MODES = {"cpu": "ms, CPU", "graph": "ms, GPU"}


def _costs(study: Study, name: str, rows: list[Row]) -> dict[str, float | None]:
    """Of a request, by what is counted."""
    found: dict[str, float | None] = {
        "million operations, 500 candidates": mean(row["macs_500"] for row in rows) / 1e6
    }
    for mode, words in _MODES.items():
        for candidates in (100, 500):
            found[f"{words}, {candidates} candidates"] = study.latency_ms(name, mode, candidates)
    return found


def stores() -> str:
    """Medians over rounds: reads by regime, engine and behaviours asked for; bytes a behaviour; writes."""
    saved = {name: _saved(f"store_{name}") for name in ("reads", "disk", "writes")}
    reads, writes = saved["reads"]["rows"], saved["writes"]["rows"]
    found: Row = {"sources": {name: _head(result) for name, result in saved.items()}}
    found["reads"] = [
        {"regime": regime, "engine": engine, "behaviours": n}
        | {key: middle(reads, key, regime=regime, engine=engine, n=n) for key in _READ}
        for regime in ("warm", "cold")
        for engine in engines_of(reads, regime=regime)
        for n in NS
        if middle(reads, _READ[0], regime=regime, engine=engine, n=n) is not None
    ]
    found["disk"] = [
        {"data": row["data"], "engine": row["engine"], "bytes_per_behaviour": row["value"]}
        for row in saved["disk"]["rows"]
        if row.get("value") is not None
    ]
    found["writes"] = [
        {"engine": engine} | {key: middle(writes, key, measure="write", engine=engine) for key in _WRITTEN}
        for engine in engines_of(writes, measure="write")
    ]
    return _text(found)


def _saved(name: str) -> Row:
    found: Row = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _head(result: Mapping[str, Any]) -> Row:
    return {key: result[key] for key in ("commit", "machine", "seed")}


def _text(found: Row) -> str:
    return json.dumps(_short(found), indent=1) + "\n"


def _short(value: Any) -> Any:
    """The same with six significant digits of every number: more say nothing, and take room."""
    if isinstance(value, Mapping):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
