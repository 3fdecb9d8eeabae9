"""What every benchmark prints and writes: its rows and bars, with machine, versions, seed and commit."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.execution.environment import commit, hardware, versions

Measured = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def bar(
    name: str, value: float | None, bar: float, stretch: float | None = None, better: str = "higher"
) -> dict[str, Any]:
    """One bar: what was measured against what was wanted; `better` is "higher" or "lower".

    A value of None was not measured; a row says why.
    """
    return {"name": name, "value": value, "bar": bar, "stretch": stretch, "better": better}


def falls_short(entry: dict[str, Any]) -> bool:
    """Whether a bar is missed; one that was not measured is."""
    if entry["value"] is None:
        return True
    higher: bool = entry["value"] < entry["bar"]
    lower: bool = entry["value"] > entry["bar"]
    return higher if entry["better"] == "higher" else lower


def options(description: str | None) -> argparse.ArgumentParser:
    """The command line that every benchmark has; one may add to it."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller, for a first look")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, help="write the result to this file")
    parser.add_argument("--commit", help="of this checkout, where git is not there to say it")
    return parser


def main(name: str, description: str | None, seed: int, measure: Callable[[bool], Measured]) -> None:
    """Parse the command line, measure, print; `measure(quick)` returns rows and bars."""
    args = options(description).parse_args()
    show(name, seed, args, measure(args.quick))


def result_of(
    name: str,
    seed: int,
    quick: bool,
    rows: list[dict[str, Any]],
    bars: list[dict[str, Any]],
    at: str | None = None,
) -> dict[str, Any]:
    """What a result's file holds; `at` is the commit where git cannot say it."""
    return {
        "benchmark": name,
        "quick": quick,
        "commit": at or commit(),
        "machine": hardware("auto"),
        "versions": versions(),
        "seed": seed,
        "rows": rows,
        "bars": bars,
    }


def show(name: str, seed: int, args: argparse.Namespace, measured: Measured) -> None:
    """Write and print a result, as the command line asks."""
    rows, bars = measured
    result = result_of(name, seed, args.quick, rows, bars, args.commit)
    text = json.dumps(result, indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    if args.json:
        print(text)
        return
    print(result["machine"], "seed", seed, "commit", result["commit"])
    for row in rows:
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    for entry in bars:
        if entry["value"] is None:
            print(f"{entry['name']}: not measured, bar {entry['bar']:.4g}")
            continue
        verdict = "falls short" if falls_short(entry) else "met"
        print(f"{entry['name']}: {entry['value']:.4g}, bar {entry['bar']:.4g}: {verdict}")
