"""`laser-ab breakdown`: a run's effects by day and by segment."""

from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.commands.options import Json


def breakdown(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    as_json: Json = False,
) -> None:
    """Take a run's effects apart: by day, with intervals one may look at every day, and by segment."""
    from simulator.analysis.breakdown.whole import breakdown_of
    from simulator.commands.output import keep_answer, print_json
    from simulator.results.read import read_run

    found = read_run(run)
    answer = breakdown_of(found)
    keep_answer(found, "breakdown", answer)
    if as_json:
        print_json({"run": str(run), **answer})
        return
    for name, parts in answer["treatments"].items():
        show(name, parts)


def show(arm: str, parts: dict[str, Any]) -> None:
    """Print a table of days for the first metric, and one of segments for all metrics of the first pages."""
    from simulator.commands.output import table
    from simulator.metrics import BY_NAME, PRIMARY
    from simulator.results.numbers import NOT_ENOUGH, count, interval, lift, ms
    from simulator.results.report import terminal

    console = terminal()
    rows: list[tuple[str, ...]] = [
        (f"{arm}: {BY_NAME[PRIMARY].label}, days so far", "lift", "valid every day", "true lift")
    ]
    for day in parts["days"][PRIMARY]:
        cells = (lift(day["lift"]), interval(day["always_valid"], lift), lift(day["true_lift"]))
        rows.append((str(day["day"]), *cells))
    console.print(table(rows))
    names = [name for name, metric in BY_NAME.items() if name in parts["days"] and metric.tile]
    thirds: list[tuple[str, ...]] = [
        ("thirds by", "", *(f"{BY_NAME[name].label}:\nlift, true" for name in names))
    ]
    for one in parts["segments"]:
        own = (one["metrics"][name] for name in names)
        lifts = [
            f"{NOT_ENOUGH if entry['lift'] is None else lift(entry['lift'])}, {lift(entry['true_lift'])}"
            for entry in own
        ]
        thirds.append(
            (one["by"], interval((one["low"], one["high"]), ms if one["by"] == "latency" else count), *lifts)
        )
    console.print()
    console.print(table(thirds))
