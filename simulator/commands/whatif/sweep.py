"""`laser-ab sweep`: one experiment with other values of some of its settings."""

import re
import sys
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.commands.options import (
    ALL_CORES,
    Address,
    CacheGb,
    DryRun,
    Engine,
    Jobs,
    Json,
    MaybeConfig,
    Overrides,
    Quiet,
    Seed,
    out_option,
)
from simulator.commands.run import in_words, print_plan

if TYPE_CHECKING:
    from simulator.arms.arm import ModelSpec
    from simulator.config.settings import ExperimentConfig
    from simulator.results.axes import Axis
    from simulator.results.read import Sweep

_BUDGETS = 11  # cells of a sweep without axes: a grid of ten, and the file's own


def sweep(
    config: MaybeConfig = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="SWEEP", help="Continue an interrupted sweep where it stood."),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="KEY=A,B,C",
            help="A setting and its values, as in arms.treatment.history=50,200. Repeatable: a grid. The "
            "latency budget by default.",
        ),
    ] = None,
    cell: Annotated[
        list[str] | None,
        typer.Option(
            "--cell",
            metavar="KEY=A,KEY=B",
            help="In place of --over: one cell, as in arms.treatment.history=200,experiment.budget_ms=20. "
            "Repeatable: a list.",
        ),
    ] = None,
    one_model: Annotated[
        bool,
        typer.Option(
            "--one-model",
            help="Train one model for all histories of an arm that varies them, not one for each.",
        ),
    ] = False,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            min=1,
            max=1000,
            help="Replications: every cell in so many worlds, each with trainings of its own.",
        ),
    ] = 1,
    overrides: Overrides = None,
    seed: Seed = None,
    out: Annotated[Path | None, out_option("runs/NAME-sweep (NAME: the experiment's)")] = None,
    jobs: Jobs = ALL_CORES,
    engine: Engine = None,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    cache_gb: CacheGb = None,
    dry_run: DryRun = False,
) -> None:
    """Simulate an experiment in every cell of a grid of settings."""
    from simulator.commands.checked import load_checked
    from simulator.commands.output import progress
    from simulator.results.axes import cells_of

    if (config is None) == (resume is None):
        raise typer.BadParameter("expected either CONFIG or --resume SWEEP", param_hint="CONFIG")
    if resume is not None:
        if overrides or over or cell or one_model or dry_run or seeds > 1 or (seed, out) != (None, None):
            raise typer.BadParameter(
                "a sweep continues as it began: leave out all but --jobs and --engine",
                param_hint="--resume",
            )
        _continue(resume, jobs, as_json, quiet)
        return
    assert config is not None
    axes, cells = checked_axes(over or []), checked_cells(cell or [])
    if axes and cells:
        raise typer.BadParameter("expected --over or --cell, not both", param_hint="--cell")
    resolved = load_checked(config, overrides, seed, budgeted=False)
    if seeds > 1:
        axes, cells = replicated(resolved.seed, seeds, axes, cells)
    models = _models(resolved, cells or (cells_of(axes) if axes else []), one_model)
    if dry_run:
        grid = prod(len(axis.values) for axis in axes) if axes else _BUDGETS
        print_plan(resolved, as_json, len(cells) or grid, models)
        return
    if not quiet:
        _foretell(resolved, models, axes)
    from simulator.execution.interrupts import stops_at_checkpoints
    from simulator.whatif.sweep import run_sweep  # after the checks, which should answer at once

    with stops_at_checkpoints(), progress(quiet) as shown:
        folder = run_sweep(resolved, axes, out, cells=cells, one_model=one_model, jobs=jobs, progress=shown)
    show(folder, as_json)


def _models(
    config: "ExperimentConfig", cells: Sequence[Mapping[str, Any]], one_model: bool
) -> "list[ModelSpec]":
    """The models that the cells need.

    Raises:
        ConfigError: a cell's values cannot be used.
    """
    from simulator.arms.arm import arms_of, needed_models
    from simulator.config.load import changed

    if one_model or not any(key.startswith("arms.") for key in next(iter(cells), {})):
        return list(needed_models(arms_of(config)))
    every = (needed_models(arms_of(changed(config, cell, "axis"))) for cell in cells)
    return list(dict.fromkeys(spec for models in every for spec in models))


def _foretell(config: "ExperimentConfig", models: "Sequence[ModelSpec]", axes: "Sequence[Axis]") -> None:
    """On stderr, before it begins: which models a run of the experiment has not trained, and why."""
    from simulator.arms.arm import arms_of, needed_models

    own = needed_models(arms_of(config))
    others = [spec for spec in models if spec not in own]
    if others:
        by_history = any(axis.key.endswith(".history") for axis in axes)
        also = " --one-model trains one for all histories." if by_history else ""
        print(
            f"note: besides the experiment's own models the cells need {in_words(others)}. They are trained, "
            f"unless a run has kept them.{also}",
            file=sys.stderr,
        )


def _continue(folder: Path, jobs: int, as_json: bool, quiet: bool) -> None:
    """Bring an interrupted sweep to its end; a finished one is only shown."""
    from simulator.commands.output import progress
    from simulator.execution.interrupts import stops_at_checkpoints
    from simulator.results.read import read_sweep

    if read_sweep(folder).status != "finished":
        from simulator.whatif.sweep import resume_sweep  # torch: nothing to show needs it

        with stops_at_checkpoints(), progress(quiet) as shown:
            resume_sweep(folder, jobs=jobs, progress=shown)
    show(folder, as_json)


def checked_axes(texts: Sequence[str]) -> "tuple[Axis, ...]":
    """The axes that --over names.

    Raises:
        typer.BadParameter: they are malformed, or too many cells.
    """
    from simulator.results.axes import SweepError, cells_of
    from simulator.whatif.axes import parse_axes

    try:
        axes = parse_axes(texts)
        if axes:
            cells_of(axes)
    except SweepError as error:
        raise typer.BadParameter(str(error), param_hint="--over") from None
    return axes


def replicated(
    seed: int, seeds: int, axes: "Sequence[Axis]", cells: Sequence[dict[str, Any]]
) -> "tuple[tuple[Axis, ...], list[dict[str, Any]]]":
    """The same cells at the seeds from the experiment's own on.

    Raises:
        typer.BadParameter: the seed varies already, or there are too many cells.
    """
    from simulator.results.axes import Axis, SweepError, axes_over, cells_of

    every = tuple(range(seed, seed + seeds))
    if any("seed" in cell for cell in cells) or any(axis.key == "seed" for axis in axes):
        raise typer.BadParameter("the seed varies already", param_hint="--seeds")
    try:
        if cells:
            cells = [{**cell, "seed": one} for one in every for cell in cells]
            axes_over(cells)
            return (), list(cells)
        axes = (Axis("seed", every), *axes)
        cells_of(axes)
    except SweepError as error:
        raise typer.BadParameter(str(error), param_hint="--seeds") from None
    return axes, []


def checked_cells(texts: Sequence[str]) -> list[dict[str, Any]]:
    """The cells that --cell lists.

    Raises:
        typer.BadParameter: they are malformed, of unlike keys, or too many.
    """
    from simulator.results.axes import SweepError, axes_over
    from simulator.whatif.axes import parse_cell

    try:
        cells = [parse_cell(text) for text in texts]
        if cells:
            axes_over(cells)
    except SweepError as error:
        raise typer.BadParameter(str(error), param_hint="--cell") from None
    return cells


def show(folder: Path, as_json: bool) -> None:
    """Print a sweep: one line per cell and treatment, or the whole table as JSON."""
    from simulator.results.answers.build import answers_of
    from simulator.results.answers.terms import terms_of
    from simulator.results.answers.text import answer_lines
    from simulator.results.read import read_sweep

    found = read_sweep(folder)
    rows = found.table("sweep").to_pylist()
    if as_json:
        from simulator.commands.output import print_json

        print_json({"sweep": str(folder), "rows": rows, "answers": answers_of(found, terms_of(found))})
        print(f"Sweep folder: {folder}", file=sys.stderr)
        return
    from simulator.results.report import terminal

    console = terminal()
    card = (found.cell(found.cells[0]) if found.cells else None) or {}
    # The control has no lift: the others are compared with it.
    arms = dict.fromkeys(row["arm"] for row in rows if row["metric"].endswith("_lift"))
    for arm in arms:
        if len(arms) > 1:
            console.print(f"\n{arm}")
        console.print(_table([row for row in rows if row["arm"] == arm], found.axes, card))
    print("Lifts over the control: the A/B's interval and, beside it, the truth. Full history: the share")
    print("answered with all of it. A dash: not enough data.")
    for line in _limits(found):
        console.print(line)
    if found.cells:
        print()
        for line in answer_lines(answers_of(found, terms_of(found)), found.axes):
            console.print(line)
    print(f"\nSweep folder: {folder}")
    print("Next:")
    print(
        f"  laser-ab report {quote(str(folder))} --price-per-hour 2    the answers at other limits and prices"
    )
    print(f"  laser-ab dash {quote(str(folder))}    the what-if page")


def _limits(sweep: "Sweep") -> list[str]:
    """Service times, traffic, and each arm's bottleneck in the cell next to the experiment's own."""
    from simulator.results.axes import in_words
    from simulator.results.bottleneck import sentences, serving_of, traffic
    from simulator.results.report import service_times

    differs = traffic(sweep.cell(cell) or {} for cell in sweep.cells)
    lines = [service_times(sweep.manifest)] + ([differs] if differs else [])
    own, places = {axis.key: axis.nearest for axis in sweep.axes}, sweep.places
    index = places.index(own) if own in places else 0
    card = sweep.cell(index)
    if card is not None:
        where = in_words(sweep.axes, places[index])
        lines += [f"At {where}, {sentences(arm, load)}" for arm, load in serving_of(card).items()]
    return lines


def _table(rows: Sequence[Mapping[str, Any]], axes: "Sequence[Axis]", card: Mapping[str, Any]) -> Any:
    """One treatment: a line per cell, in 80 columns, so of the metrics with lifts only the first two."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from simulator.results.axes import heads
    from simulator.results.numbers import metric_form
    from simulator.results.scorecard import tile_metrics

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    first = tile_metrics(card)
    serving = [metric for metric in first if metric.of_serving]
    lifts = [metric for metric in first if not metric.of_serving][:2]
    headings = [re.sub(r" |(?<=\.)", "\n", name) for name in heads(axes)]
    headings += [metric.label.replace(" ", "\n") for metric in serving]
    for metric in lifts:
        headings += [metric.label.replace(" per ", "\nper ") + "\nlift", "true"]
    for heading in headings:
        # Where 80 columns do not suffice intervals break in two; nothing is ever cut off.
        table.add_column(heading, justify="right", no_wrap=not heading.endswith("lift"), overflow="fold")
    cells: dict[int, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        cells.setdefault(row["cell"], {})[row["metric"]] = row
    for found in cells.values():
        place = next(iter(found.values()))
        values = [axis.text(place[axis.key]) for axis in axes]
        values += [metric_form(m.name).form((found.get(m.name) or {}).get("value")) for m in serving]
        for metric in lifts:
            values += _lift(found.get(f"{metric.name}_lift") or {})
        table.add_row(*values)
    return table


def _lift(row: Mapping[str, Any]) -> tuple[str, str]:
    """The estimate's interval and the truth, in few characters."""
    from simulator.results.numbers import MISSING, percent

    low, high = (percent(row.get(end), signed=True, digits=0) for end in ("ci_low", "ci_high"))
    interval = MISSING if MISSING in (low, high) else f"{low.removesuffix('%')} to {high}"
    return interval, percent(row.get("true_value"), signed=True)
