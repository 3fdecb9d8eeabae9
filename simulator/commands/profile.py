"""`laser-ab profile`: measure this machine's service times."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from simulator.commands.options import Json, Overrides, Quiet, Seed, named
from simulator.errors import SimulatorError


def profile(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="Whose arms to measure; the demo's by default.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The profile (JSON).", callback=named)
    ] = Path("profile.json"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer repetitions: a rough profile.")] = False,
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
    resolved = load_checked(config or DEMO, overrides, seed, profiled=False)
    from simulator.arms.profiling import make_profile  # after the checks, which should answer at once
    from simulator.execution.interrupts import sigterm_as_ctrl_c

    with sigterm_as_ctrl_c(), progress(quiet) as shown:
        path = make_profile(resolved, out, quick=quick, progress=shown)
    if as_json:
        print_json({"profile": str(path)})
    else:
        print(f"Profile: {path}")
        print(f"Use it: laser-ab run CONFIG --set experiment.profile={quote(str(path))}")
