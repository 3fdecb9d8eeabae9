"""`laser-ab truth`: the true effect, over worlds and trainings, and for whom it is larger."""

from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.commands.options import ALL_CORES, CacheGb, ConfigFile, Jobs, Json, Overrides, Quiet, Seed


def truth(
    config: ConfigFile,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=10_000, help="Worlds, each with trainings of its own.")
    ] = 8,
    treatment: Annotated[
        str | None, typer.Option("--treatment", metavar="ARM", help="Against control; the first by default.")
    ] = None,
    overrides: Overrides = None,
    seed: Seed = None,
    jobs: Jobs = ALL_CORES,
    as_json: Json = False,
    quiet: Quiet = False,
    cache_gb: CacheGb = None,
) -> None:
    """What is true of the treatment in other worlds too: lifts, how far worlds differ, and for whom."""
    from simulator.commands.checked import load_checked
    from simulator.commands.output import keep_answer, print_json, progress
    from simulator.designs.worlds import truth_over_worlds
    from simulator.execution.interrupts import stops_at_checkpoints
    from simulator.results.read import read_run

    run = read_run(config) if config.is_dir() else None
    loaded = load_checked(_file(config), overrides, seed)
    every = range(loaded.seed, loaded.seed + seeds)
    with stops_at_checkpoints(), progress(quiet) as told:
        found = truth_over_worlds(loaded, every, treatment, jobs, told)
    found = {"name": loaded.experiment.name, "treatment": treatment or loaded.arm_names[1], **found}
    if run is not None and not overrides and seed is None:
        keep_answer(run, "truth", found)
    if as_json:
        print_json(found)
    else:
        show(found)


def _file(source: Path) -> Path:
    return source / "experiment.toml" if source.is_dir() else source


def show(found: dict[str, Any]) -> None:
    """Print the pooled lifts, then thirds of the requests, then what pairing is worth."""
    from simulator.commands.output import table
    from simulator.metrics import BY_NAME
    from simulator.results.numbers import level_name
    from simulator.results.report import terminal

    console = terminal()
    seeds, level = found["seeds"], level_name(found["level"])
    console.print(
        f"{found['name']} · {len(seeds)} worlds and trainings, seeds {seeds[0]} to {seeds[-1]}", markup=False
    )
    rows: list[tuple[str, ...]] = [
        ("metric", f"true lift ({level} of the mean)", "between worlds", "of it users", "worlds near 0")
    ]
    rows += [(BY_NAME[name].label, *_cells(own)) for name, own in found["metrics"].items()]
    console.print(table(rows))
    labels = {
        "history": "readable behaviours",
        "activity": "requests of the user",
        "latency": "response [ms]",
    }
    names = [name for name in found["metrics"] if BY_NAME[name].tile]
    for dimension, thirds in found["thirds"].items():
        head = (f"thirds by {labels[dimension]}", *(BY_NAME[name].label for name in names))
        body = [
            (f"mean {third['mean']:,.4g}", *(_lift(third["metrics"].get(name)) for name in names))
            for third in thirds
        ]
        console.print()
        console.print(table([head, *body]))
    if found["pairing"]:
        gains = ", ".join(f"{BY_NAME[name].label} {gain:,.0f}" for name, gain in found["pairing"].items())
        console.print(
            "\nBoth arms' worlds share users and draws. Without that, as exact a truth would take so many "
            f"times as many users: {gains}.",
        )


def _cells(own: dict[str, Any]) -> tuple[str, ...]:
    from simulator.results.numbers import percent

    return (
        _lift(own),
        percent(own["sd"], digits=2),
        percent(own["sd_users"], digits=2),
        percent(own["covers_zero"], digits=0),
    )


def _lift(own: dict[str, Any] | None) -> str:
    from simulator.results.numbers import MISSING, interval, lift

    if own is None:
        return MISSING
    return lift(own["lift"]) + (f" ({interval(own['ci'], lift)})" if own["ci"] is not None else "")
