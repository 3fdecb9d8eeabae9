"""`laser-ab sweep`: one experiment under many latency budgets."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from simulator.commands.options import ConfigFile, Jobs, Json, Out, Overrides, Quiet, Seed


def sweep(
    config: ConfigFile,
    budget: Annotated[
        str,
        typer.Option("--budget", metavar="auto|LO:HI:STEP", help="Budgets in ms, such as 20:120:10."),
    ] = "auto",
    overrides: Overrides = None,
    seed: Seed = None,
    out: Out = None,
    jobs: Jobs = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Simulate an experiment under a grid of latency budgets."""
    from simulator.commands.output import progress
    from simulator.experiment.config import load_config

    check_budgets(budget)
    resolved = load_config(config, overrides or [], seed)
    from simulator.whatif.sweep import run_sweep  # after the checks, which should answer at once

    with progress(quiet) as told:
        folder = run_sweep(resolved, budget, out, jobs=jobs, progress=told)
    show(folder, as_json)


def check_budgets(text: str) -> None:
    """Refuse what is neither "auto" nor LO:HI:STEP with 0 < LO <= HI and STEP > 0.

    Raises:
        typer.BadParameter: with what was found.
    """
    if text == "auto":
        return
    try:
        low, high, step = (float(part) for part in text.split(":"))
    except ValueError:
        low, high, step = 0.0, 0.0, 0.0
    if not (0 < low <= high < float("inf") and 0 < step < float("inf")):
        raise typer.BadParameter(
            f"found {text!r}, expected auto or LO:HI:STEP in milliseconds, such as 20:120:10",
            param_hint="--budget",
        )


def show(folder: Path, as_json: bool) -> None:
    """Print a sweep: one line a budget and treatment, or the whole table as JSON."""
    from simulator.results.read import read_sweep

    rows = read_sweep(folder).table("sweep").to_pylist()
    if as_json:
        from simulator.commands.output import print_json

        print_json({"sweep": str(folder), "rows": rows})
        print(f"Sweep folder: {folder}", file=sys.stderr)
        return
    from rich.console import Console
    from rich.table import Table

    from simulator.results.numbers import lift_with_interval, metric_form, ms

    table = Table()
    headings = ("budget", "arm", "P99", "missed", "full history", "ADVV lift", "revenue lift")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    cells = {(row["budget_ms"], row["arm"], row["metric"]): row for row in rows}
    for budget, arm in dict.fromkeys((row["budget_ms"], row["arm"]) for row in rows):
        plain = [
            metric_form(name).form((cells.get((budget, arm, name)) or {}).get("value"))
            for name in ("p99_ms", "missed_share", "full_history_share")
        ]
        lifts = []
        for name in ("advv_per_request", "revenue_per_request"):
            row = cells.get((budget, arm, f"{name}_lift")) or {}
            lifts.append(lift_with_interval(row.get("value"), (row.get("ci_low"), row.get("ci_high")), None))
        table.add_row(ms(budget), arm, *plain, *lifts)
    Console(highlight=False).print(table)
    print(f"\nSweep folder: {folder}")
    print("Next:")
    print(f"  laser-ab dash {folder.parent}    the what-if page")
