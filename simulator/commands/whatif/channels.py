"""`laser-ab channels`: a run's true effect taken apart by what it comes through."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.commands.options import ALL_CORES, CacheGb, Jobs, Json, Quiet

if TYPE_CHECKING:
    from simulator.whatif.channels import Channels
    from simulator.whatif.resimulation import Resimulation


def channels(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    arm: Annotated[
        str | None, typer.Option("--arm", metavar="NAME", help="One treatment; each of them by default.")
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            "--order",
            metavar="A,B,...",
            help="Switch model, history, serving, prices and budgets on in this order; the mean over every "
            "order (Shapley) by default.",
        ),
    ] = None,
    jobs: Jobs = ALL_CORES,
    as_json: Json = False,
    quiet: Quiet = False,
    cache_gb: CacheGb = None,
) -> None:
    """Take a run's true effect apart: by model, history, serving, prices and budgets."""
    from simulator.commands.output import keep_answer, print_json, progress
    from simulator.results.read import read_run
    from simulator.whatif.resimulation import Resimulation, check_order

    asked = None if order is None else [name.strip() for name in order.split(",")]
    check_order(asked)  # before the world is built, and before it is said what will be trained
    with progress(quiet) as shown:
        held = Resimulation(run, progress=shown)
    names = [arm] if arm is not None else held.treatments
    if not quiet:
        _foretell(held, names)
    found = {}
    for name in names:
        with progress(quiet) as shown:  # of each treatment anew, or its counts would begin again
            found[name] = held.channels(name, order=asked, jobs=jobs, progress=shown)
    answer = {"treatments": [_document(name, asked, of) for name, of in found.items()]}
    keep_answer(read_run(run), "channels", answer)
    if as_json:
        print_json({"run": str(run), **answer})
        return
    for name, parts in found.items():
        _print(name, asked, parts)


def _foretell(held: "Resimulation", names: Sequence[str]) -> None:
    """On stderr, before it begins: which models are to be trained, why, and how long that took in the run."""
    from simulator.commands.run import in_words
    from simulator.results.beside.asked import took

    specs = dict.fromkeys(spec for name in names for spec in held.channels_train(name))
    if specs:
        print(
            "note: arms between control and treatment tell model and history apart, and no run has kept "
            f"their models: {in_words(specs)}. They are trained, and score every request, first. "
            f"{took(held.run)}",
            file=sys.stderr,
        )


def _document(arm: str, order: Sequence[str] | None, found: "Sequence[Channels]") -> dict[str, Any]:
    metrics = {
        one.metric: {
            "true_lift": one.lift,
            "log_lift": one.whole.log_lift,
            "se": one.whole.se,
            "parts": {name: {"log_lift": p.log_lift, "se": p.se} for name, p in one.parts.items()},
        }
        for one in found
    }
    return {"treatment": arm, "order": order and list(order), "metrics": metrics}


def _print(arm: str, order: Sequence[str] | None, found: "Sequence[Channels]") -> None:
    from simulator.commands.output import table
    from simulator.results.numbers import metric_form
    from simulator.results.report import terminal

    if not found:
        print(f"{arm}: an arm earns nothing in some world, and there is no effect to take apart.")
        return
    labels = [metric_form(one.metric).label.replace(" per ", "\nper ") for one in found]
    parts = [(channel, *(_points(one.parts[channel]) for one in found)) for channel in found[0].parts]
    shown = table([(arm, *labels), *parts])
    shown.add_row("together", *(_points(one.whole) for one in found), style="bold")
    terminal().print(shown)
    how = "the mean over every order" if order is None else f"switched on in the order {', '.join(order)}"
    print(f"Percent of the logarithm of treatment over control, ± its error over users; {how}.")


def _points(part: Any) -> str:
    return f"{100 * part.log_lift:+.2f} ± {100 * part.se:.2f}".replace("-", "−")
