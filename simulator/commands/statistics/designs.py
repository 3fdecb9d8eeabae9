"""`laser-ab designs`: how wrong each layout of an A/B test would be on a market whose truth is known."""

from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.commands.options import ALL_CORES, CacheGb, Jobs, Json, Overrides, Quiet, Seed


def designs(
    source: Annotated[
        Path, typer.Argument(metavar="CONFIG|RUN", help="An experiment file, or the folder of a run.")
    ],
    assignments: Annotated[
        int, typer.Option("--assignments", min=2, max=100_000, help="How often each design is drawn anew.")
    ] = 40,
    design: Annotated[
        list[str] | None,
        typer.Option(
            "--design", metavar="NAME", help="Only this one; by the name it is printed with. Repeatable."
        ),
    ] = None,
    treatment: Annotated[
        str | None, typer.Option("--treatment", metavar="ARM", help="Against control; the first by default.")
    ] = None,
    share: Annotated[
        float, typer.Option("--share", min=0.01, max=0.99, help="The treatment's, of users or advertisers.")
    ] = 0.5,
    window_hours: Annotated[
        float, typer.Option("--window-hours", min=0.1, max=240.0, help="Of the switchback.")
    ] = 24.0,
    washout_hours: Annotated[
        float, typer.Option("--washout-hours", min=0.0, max=240.0, help="Left out as a window begins.")
    ] = 1.0,
    overrides: Overrides = None,
    seed: Seed = None,
    jobs: Jobs = ALL_CORES,
    as_json: Json = False,
    quiet: Quiet = False,
    cache_gb: CacheGb = None,
) -> None:
    """Judge designs of the experiment side by side: bias, what causes it, error, coverage and power."""
    from simulator.arms.plan import make_plan
    from simulator.commands.checked import load_checked
    from simulator.commands.output import keep_answer, print_json, progress
    from simulator.designs.bench import served
    from simulator.designs.compare import compare_designs
    from simulator.designs.layouts import designs as all_designs
    from simulator.designs.words import explained
    from simulator.execution.interrupts import stops_at_checkpoints
    from simulator.results.read import read_run

    known = {one.name: one for one in all_designs(share, window_hours, washout_hours)}
    for name in design or ():
        if name not in known:
            raise typer.BadParameter(
                f"found {name!r}, expected one of {', '.join(known)}", param_hint="--design"
            )
    asked = [known[name] for name in known if not design or name in design]
    run = read_run(source) if source.is_dir() else None
    config = load_checked(source / "experiment.toml" if source.is_dir() else source, overrides, seed)
    unchanged = run if not overrides and seed is None else None
    with (
        stops_at_checkpoints(),
        progress(quiet) as told,
        served(make_plan(config), treatment, jobs, told, unchanged) as bench,
    ):
        found = compare_designs(bench, asked, assignments, told)
    found = {
        "name": config.experiment.name,
        "seed": config.seed,
        "control": bench.names[0],
        "treatment": bench.names[1],
        "level": bench.level,
        **explained(found, asked, config.experiment.primary),
    }
    if unchanged is not None:
        keep_answer(unchanged, "designs", found)
    if as_json:
        print_json(found)
    else:
        show(found)


def show(found: dict[str, Any]) -> None:
    """Print a table for every metric, then a sentence for every design and the choice."""
    from simulator.metrics import BY_NAME
    from simulator.results.numbers import lift, percent
    from simulator.results.report import terminal

    console = terminal()
    head = f"{found['name']} · seed {found['seed']} · {found['treatment']} against {found['control']}"
    console.print(f"{head} · {found['assignments']} re-assignments")
    for name, world in found["worlds"].items():
        missed = percent(world["revenue_missed"])
        empty = percent(world["exhausted_share"])
        console.print(
            f"With {name} alone {empty} of the daily budgets run out, and {missed} of the revenue that "
            "unlimited ones would bring is missed.",
        )
    for name, truth in found["truth"].items():
        metric = BY_NAME[name]
        if metric.tile:
            head = f"{metric.label}: the true lift is {lift(truth['lift'])}; biases and errors in points"
            console.print(f"\n{head}")
            console.print(_table(found["designs"], name))
    console.print()
    for own in found["designs"].values():
        console.print(own["sentence"])
    console.print(found["choice"]["text"])


def _table(designs: dict[str, dict[str, Any]], metric: str) -> Any:
    from simulator.commands.output import table
    from simulator.designs.words import points, points_error
    from simulator.results.numbers import count, lift, percent

    rows = [["design", "units", "shows", "bias", "arms' doing", "own error", "coverage", "power"]]
    for name, own in designs.items():
        judged = own.get("metrics", {}).get(metric)
        if judged is None:
            rows.append([name, *["—"] * 7])
            continue

        def both(key: str, judged: dict[str, Any] = judged) -> str:
            value, se = points(judged[key]), points_error(judged[f"{key}_se"])
            return f"{value}±{se}".replace(" points", "")

        rows.append(
            [
                name,
                count(own["units"]),
                lift(judged["estimate"]),
                both("bias"),
                both("interference"),
                points(judged["sd"], signed=False).replace(" points", ""),
                percent(judged["coverage"], digits=0),
                percent(judged["power"], digits=0),
            ]
        )
    return table(rows)
