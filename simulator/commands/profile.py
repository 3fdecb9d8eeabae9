"""`laser-ab profile`: measure this machine's service times."""

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.commands.options import Json, Overrides, Quiet, Seed, named
from simulator.errors import SimulatorError, short

if TYPE_CHECKING:
    from simulator.serving.profile import ServiceProfile


def profile(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="Whose arms to measure; the demo's by default.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The profile (JSON).", callback=named)
    ] = Path("profile.json"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer repetitions: a rough profile.")] = False,
    candidates: Annotated[
        str | None,
        typer.Option(metavar="N,...", help="Candidates; half, once and twice the trace's by default."),
    ] = None,
    batches: Annotated[
        str | None, typer.Option(metavar="N,...", help="Batches; powers of two up to each arm's by default.")
    ] = None,
    histories: Annotated[
        str | None, typer.Option(metavar="N,...", help="Behaviours; the lengths of the ladders by default.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(metavar="MODEL,...", help="Of the arms' models, those to measure.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Measure for about so long: fewer samples, at least 100.")
    ] = None,
    add_to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Put the samples of FILE, measured here before, first."),
    ] = None,
    overrides: Overrides = None,
    seed: Seed = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure store, transport and scoring times, for `service_times = "profile"`."""
    from simulator.commands.checked import load_checked
    from simulator.commands.output import print_json, progress
    from simulator.commands.run import DEMO

    if out.exists():
        raise SimulatorError(f"{out}: found a file there, expected none. Choose another one with --out.")
    widths, sizes = _numbers("--candidates", candidates), _numbers("--batches", batches)
    lengths = _numbers("--histories", histories)
    from simulator.serving.profile import load

    earlier = None if add_to is None else load(add_to)
    resolved = load_checked(config or DEMO, overrides, seed, profiled=False)
    from simulator.arms.profiling.machine import make_profile  # after the checks, which should answer at once
    from simulator.execution.interrupts import sigterm_as_ctrl_c

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr)

    def estimated(seconds: float) -> None:
        say(f"Measuring takes about {max(seconds, 1.0) / 60:.1f} min, and longer where cells disagree.")

    with sigterm_as_ctrl_c(), progress(quiet) as shown:
        made = make_profile(
            resolved,
            out,
            quick=quick,
            candidates=widths,
            batches=sizes,
            histories=lengths,
            models=tuple(models.split(",")) if models else None,
            minutes=minutes or float("inf"),
            earlier=earlier,
            progress=shown,
            estimated=estimated,
        )
    notes = _remarks(made, out)
    if as_json:
        print_json({"profile": str(out), "notes": notes})
        return
    for note in notes:
        say(note)
    print(f"Profile: {out}")
    print(f"Use it: laser-ab run CONFIG --set experiment.profile={quote(str(out))}")


def _remarks(made: "ServiceProfile", out: Path) -> list[str]:
    """What was done to its samples, what disagrees, and what differs from the shipped one of that name."""
    from simulator.config.settings import PROFILES
    from simulator.serving.fitness import changes, disagreements
    from simulator.serving.profile import load

    shipped = PROFILES / out.name
    changed = changes(load(shipped), made) if shipped.is_file() else []
    return [
        *made.notes,
        *(wrong.message for wrong in disagreements(made)),
        *(f"{told} of the shipped {out.stem}" for told in changed),
    ]


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    # By their digits: of thousands of them Python makes no number.
    if not all(part.isdecimal() and len(part) < 9 and int(part) > 0 for part in parts):
        raise SimulatorError(
            f"{option}: found {short(text)}, expected whole numbers above 0 and below 100 million, such as "
            "32,200,500."
        )
    return tuple(sorted({int(part) for part in parts}))
