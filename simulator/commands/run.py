"""`laser-ab run` and `laser-ab demo`: simulate an experiment and show its scorecard."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.commands.options import (
    ALL_CORES,
    RUN_OUT,
    CacheGb,
    DryRun,
    FailOn,
    Jobs,
    Json,
    MaybeConfig,
    Overrides,
    Quiet,
    Seed,
    out_option,
)

if TYPE_CHECKING:
    from simulator.arms.arm import ModelSpec
    from simulator.arms.forecast import Forecast
    from simulator.config.settings import ExperimentConfig

# The wheel's copy; `examples/demo.toml` of a checkout has the same bytes (a test compares them). A link
# would be the alternative, but a checkout on Windows turns links into text files.
DEMO = Path(__file__).resolve().parents[1] / "examples" / "demo.toml"


def run(
    config: MaybeConfig = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Continue an interrupted run where it stood."),
    ] = None,
    overrides: Overrides = None,
    seed: Seed = None,
    out: Annotated[Path | None, out_option(RUN_OUT)] = None,
    jobs: Jobs = ALL_CORES,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
    fail_on: FailOn = None,
    cache_gb: CacheGb = None,
) -> None:
    """Simulate an experiment and write a run folder."""
    from simulator.commands.checked import load_checked

    if (config is None) == (resume is None):
        raise typer.BadParameter("expected either CONFIG or --resume RUN", param_hint="CONFIG")
    if resume is not None:
        if overrides or seed is not None or out is not None or dry_run:
            raise typer.BadParameter(
                "a run continues as it began: leave out --set, --seed, --out and --dry-run",
                param_hint="--resume",
            )
        _continue(resume, jobs, as_json, quiet, fail_on)
        return
    assert config is not None
    resolved = load_checked(config, overrides, seed)
    if dry_run:
        print_plan(resolved, as_json)
        return
    _simulate(resolved, out, jobs, as_json, quiet, fail_on)


def print_plan(
    config: "ExperimentConfig", as_json: bool, cells: int = 1, models: "Sequence[ModelSpec] | None" = None
) -> None:
    """The resolved file, and below it, where a terminal stops, comments that say what it would take.

    Args:
        config: the experiment.
        as_json: one document instead.
        cells: of a sweep.
        models: that its cells need; by default the experiment's.
    """
    from dataclasses import asdict

    from simulator.arms.arm import arms_of, needed_models
    from simulator.arms.forecast import forecast
    from simulator.arms.outlook import budget_most_ms
    from simulator.config.load import to_toml
    from simulator.inputs.extent import extent_of
    from simulator.results.numbers import ms

    extent = extent_of(config)
    to_train = [spec for spec in models or needed_models(arms_of(config)) if spec.checkpoint is None]
    most_ms, ahead = budget_most_ms(config), forecast(config)
    if as_json:
        from simulator.commands.output import print_json

        size = {
            **asdict(extent),
            "cells": cells,
            "budget_most_ms": most_ms,
            "models_to_train": [s.key for s in to_train],
        }
        size["forecast"] = asdict(ahead)
        print_json({"config": config.model_dump(mode="json"), "size": size})
        return
    budget = config.experiment.budget_ms
    words = {
        "auto": "twice the slowest arm's unloaded P95, "
        + ("measured when the run begins" if most_ms is None else f"at most about {ms(most_ms)}"),
        "none": "none: every request waits for its full history",
    }.get(str(budget), f"{budget} ms")
    lines = [
        "What this would take, as far as the file alone says:",
        f"  requests   {extent.requests:,} of {extent.users:,} users, in {extent.days} days and "
        f"{extent.pre_days} before them on control",
        f"  to rank    {extent.candidates} of {extent.ads:,} ads for each request",
        f"  histories  up to about {extent.longest:,} behaviours, {extent.histories_gib:.1f} GiB of "
        "temporary files for all users",
        f"  training   {len(to_train)} models on about {extent.training_requests:,} requests: "
        + in_words(to_train),
        f"  budget     {words}",
        *_foretold(ahead, extent.requests),
    ]
    if cells > 1:
        lines.append(f"  cells      {cells}, each of so many requests; what they have in common is made once")
    print(to_toml(config))
    print("\n".join(f"# {line}" for line in lines))


def in_words(models: "Iterable[ModelSpec]") -> str:
    """Models: "din on 50 behaviours, laser on 200 and 1,000 behaviours"."""
    histories: dict[str, list[str]] = {}
    for spec in models:
        histories.setdefault(spec.kind, []).append(f"{spec.history:,}")
    return ", ".join(
        f"{kind} on {', '.join(read[:-1])}{' and ' * (len(read) > 1)}{read[-1]} behaviours"
        for kind, read in histories.items()
    )


def _foretold(ahead: "Forecast", requests: int) -> list[str]:
    from simulator.results import numbers

    rate, minutes, lift = ahead.requests_per_s, ahead.scoring_minutes, ahead.detectable_lift
    arrivals = "measured when the run begins" if rate is None else f"about {rate:,.0f} per second"
    scoring = "live" if minutes is None else f"about {minutes:,.1f} minutes of one process, less if kept"
    beyond = numbers.beyond(ahead.requests_to_find, requests)
    return [
        f"  arrivals   {arrivals}",
        f"  scoring    {scoring}",
        f"  memory     about {ahead.memory_gib:.1f} GiB",
        f"  can tell   a lift of about {numbers.percent(lift, digits=0)} in ADVV; for 2% about "
        f"{numbers.about(ahead.requests_to_find)} requests, the pre-period not counted{beyond}",
    ]


def demo(
    seed: Seed = None,
    out: Annotated[Path | None, out_option("runs/demo")] = None,
    jobs: Jobs = ALL_CORES,
    as_json: Json = False,
    quiet: Quiet = False,
    cache_gb: CacheGb = None,
) -> None:
    """Run the shipped example: LastN + DIN against SeqVault + LASER, in a few minutes."""
    from simulator.commands.checked import load_checked

    _simulate(load_checked(DEMO, [], seed), out, jobs, as_json, quiet, None)


def _simulate(
    config: Any, out: Path | None, jobs: int, as_json: bool, quiet: bool, fail_on: str | None
) -> None:
    from simulator.commands.output import progress
    from simulator.commands.verdicts import parse_fail_on
    from simulator.execution.interrupts import stops_at_checkpoints
    from simulator.experiment.run import run_experiment

    checks = parse_fail_on(fail_on)  # before the work, which may take an hour
    with stops_at_checkpoints(), progress(quiet) as shown:
        folder = run_experiment(config, out, jobs=jobs, progress=shown)
    _show(folder, as_json, checks)


def _continue(folder: Path, jobs: int, as_json: bool, quiet: bool, fail_on: str | None) -> None:
    """Bring an interrupted run to its end. A finished one is only shown: scripts may call this twice."""
    from simulator.commands.output import progress
    from simulator.commands.verdicts import parse_fail_on
    from simulator.execution.interrupts import stops_at_checkpoints
    from simulator.results.read import read_run

    checks = parse_fail_on(fail_on)
    if read_run(folder).status != "finished":
        from simulator.experiment.run import resume_experiment  # torch: nothing to show needs it

        with stops_at_checkpoints(), progress(quiet) as shown:
            resume_experiment(folder, jobs=jobs, progress=shown)
    _show(folder, as_json, checks)


def _show(folder: Path, as_json: bool, checks: tuple[str, ...]) -> None:
    from simulator.commands.report import end_on, scorecard_of
    from simulator.results.report import render

    scorecard = scorecard_of(folder)
    print(render(scorecard, "json" if as_json else "table"), end="")
    if not as_json:
        print(f"\nRun folder: {folder}")
        print("Next:")
        print(f"  laser-ab report {quote(str(folder))} --format csv    the numbers")
        print(f"  laser-ab report {quote(str(folder))} --verbose    what keeps the servers busy")
        print(f"  laser-ab dash {quote(str(folder.parent))}    the dashboard")
        if scorecard.get("service_times") == "profile":  # a live sweep would repeat the work for each budget
            # The folder's file has the overrides too, and is there whatever the run was made from.
            print(f"  laser-ab sweep {quote(str(folder / 'experiment.toml'))}    other latency budgets")
        _point_at_shipped(folder)
    else:
        print(f"Run folder: {folder}", file=sys.stderr)
    end_on(scorecard, checks)


def _point_at_shipped(folder: Path) -> None:
    """What came with the package: a run large enough to tell what a small one cannot."""
    from simulator.results.numbers import count
    from simulator.results.read import read_run
    from simulator.results.small import shipped_runs

    files = read_run(folder).manifest["files"]
    own = (files.get("served.parquet") or {}).get("rows", 0)
    for run in shipped_runs():
        rows = run.manifest["small"]["rows"]["served"]
        if rows > own:
            requests = count(rows // len(run.arms))
            print(f"  laser-ab report {quote(str(run.path))}    {run.name}: {requests} requests, shipped")
