"""`laser-ab sweep`: one experiment under many latency budgets."""

import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.commands.options import Jobs, Json, Overrides, Quiet, Seed, out_option

if TYPE_CHECKING:
    from simulator.results.read import Sweep


def sweep(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="The experiment file (TOML).")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="SWEEP", help="Continue an interrupted sweep where it stood."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", metavar="auto|LO:HI:STEP", help="Budgets in ms, such as 20:120:10; auto by default."
        ),
    ] = None,
    overrides: Overrides = None,
    seed: Seed = None,
    out: Annotated[Path | None, out_option("runs/NAME-sweep (NAME: the experiment's)")] = None,
    jobs: Jobs = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Simulate an experiment under a grid of latency budgets."""
    from simulator.commands.checked import load_checked
    from simulator.commands.output import progress

    if (config is None) == (resume is None):
        raise typer.BadParameter("expected either CONFIG or --resume SWEEP", param_hint="CONFIG")
    if resume is not None:
        if overrides or seed is not None or out is not None or budget is not None:
            raise typer.BadParameter(
                "a sweep continues as it began: leave out --budget, --set, --seed and --out",
                param_hint="--resume",
            )
        _continue(resume, jobs, as_json, quiet)
        return
    assert config is not None
    check_budgets(budget or "auto")
    resolved = load_checked(config, overrides, seed, budgeted=False)
    from simulator.execution.interrupts import stops_at_checkpoints
    from simulator.whatif.sweep import run_sweep  # after the checks, which should answer at once

    with stops_at_checkpoints(), progress(quiet) as told:
        folder = run_sweep(resolved, budget or "auto", out, jobs=jobs, progress=told)
    show(folder, as_json)


def _continue(folder: Path, jobs: int, as_json: bool, quiet: bool) -> None:
    """Bring an interrupted sweep to its end; a finished one is only shown."""
    from simulator.commands.output import progress
    from simulator.execution.interrupts import stops_at_checkpoints
    from simulator.results.read import read_sweep

    if read_sweep(folder).status != "finished":
        from simulator.whatif.sweep import resume_sweep  # torch: nothing to show needs it

        with stops_at_checkpoints(), progress(quiet) as told:
            resume_sweep(folder, jobs=jobs, progress=told)
    show(folder, as_json)


def check_budgets(text: str) -> None:
    """Refuse what is neither "auto" nor a grid of budgets.

    Raises:
        typer.BadParameter: with what was found.
    """
    from simulator.whatif.budgets import SweepError, parse_budgets

    try:
        if text != "auto":
            parse_budgets(text)
    except SweepError as error:
        raise typer.BadParameter(str(error), param_hint="--budget") from None


def show(folder: Path, as_json: bool) -> None:
    """Print a sweep: one line a budget and treatment, or the whole table as JSON."""
    from simulator.results.read import read_sweep

    found = read_sweep(folder)
    rows = found.table("sweep").to_pylist()
    if as_json:
        from simulator.commands.output import print_json

        print_json({"sweep": str(folder), "rows": rows})
        print(f"Sweep folder: {folder}", file=sys.stderr)
        return
    from rich.console import Console

    console = Console(highlight=False)
    card = (found.cell(found.cells[0]) if found.cells else None) or {}
    cells = {(row["budget_ms"], row["arm"], row["metric"]): row for row in rows}
    # The control has no lift: the others are compared with it.
    arms = dict.fromkeys(arm for _, arm, metric in cells if metric.endswith("_lift"))
    for arm in arms:
        if len(arms) > 1:
            console.print(f"\n{arm}", markup=False)
        console.print(_table(cells, arm, card))
    print("Lifts over the control: the A/B's interval and, beside it, the truth. A dash: not enough data.")
    for line in _limits(found):
        console.print(line, markup=False)
    print(f"\nSweep folder: {folder}")
    print("Next:")
    print(f"  laser-ab dash {quote(str(folder))}    the what-if page")


def _limits(sweep: "Sweep") -> list[str]:
    """Whose service times these are, and each arm's bottleneck at the budget next to the experiment's own."""
    from simulator.results.bottleneck import sentences, serving_of
    from simulator.results.numbers import ms
    from simulator.results.report import service_times

    cards = [card for card in map(sweep.cell, sweep.cells) if card is not None]
    own_ms = sweep.manifest.get("budget_ms") or cards[len(cards) // 2]["budget_ms"]
    card = min(cards, key=lambda card: abs(card["budget_ms"] - own_ms))
    lines = [f"At {ms(card['budget_ms'])}, {sentences(arm, load)}" for arm, load in serving_of(card).items()]
    return [service_times(sweep.manifest), *lines]


def _table(
    cells: Mapping[tuple[float, str, str], Mapping[str, Any]], arm: str, card: Mapping[str, Any]
) -> Any:
    """One treatment: a line a budget, in 80 columns, so of the metrics with lifts only the first two."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from simulator.results.numbers import metric_form, ms
    from simulator.results.scorecard import tile_metrics

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    first = tile_metrics(card)
    serving = [metric for metric in first if metric.of_serving]
    lifts = [metric for metric in first if not metric.of_serving][:2]
    headings = ["budget", *(metric.label.replace(" ", "\n") for metric in serving)]
    for metric in lifts:
        headings += [metric.label.replace(" per ", "\nper ") + "\nlift", "true"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for budget in dict.fromkeys(budget for budget, name, _ in cells if name == arm):
        values = [
            metric_form(metric.name).form((cells.get((budget, arm, metric.name)) or {}).get("value"))
            for metric in serving
        ]
        for metric in lifts:
            values += _lift(cells.get((budget, arm, f"{metric.name}_lift")) or {})
        table.add_row(ms(budget), *values)
    return table


def _lift(row: Mapping[str, Any]) -> tuple[str, str]:
    """The estimate's interval and the truth, in few characters."""
    from simulator.results.numbers import MISSING, percent

    low, high = (percent(row.get(end), signed=True, digits=0) for end in ("ci_low", "ci_high"))
    interval = MISSING if MISSING in (low, high) else f"{low.removesuffix('%')} to {high}"
    return interval, percent(row.get("true_value"), signed=True)
