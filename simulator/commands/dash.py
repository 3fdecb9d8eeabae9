"""`laser-ab dash`: open the dashboard on a folder of runs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from simulator.errors import SimulatorError

RUNS = Path("runs")


def dash(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with runs and sweeps.")] = RUNS,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="A free one by default.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    host: Annotated[
        str | None,
        typer.Option("--host", help="Listen there, for other machines: the pages then ask for a token."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only show: no notes, no deletion, no experiments.")
    ] = False,
) -> None:
    """Open the dashboard in a browser, on this machine only unless --host says so; Ctrl-C ends it."""
    if not directory.is_dir() and not _shows_what_came(directory):
        found = "a file" if directory.exists() else "no such folder"
        raise SimulatorError(
            f"{directory}: found {found}, expected a folder with runs and sweeps. "
            "Correct the name, or make a run first: laser-ab demo"
        )
    # A process of its own: the simulator may not import the dashboard, which reads its results.
    command = [sys.executable, "-m", "dashboard", str(directory)]
    command += ["--port", str(port)] if port is not None else []
    command += ["--no-browser"] if no_browser else []
    command += ["--host", host] if host is not None else []
    command += ["--read-only"] if read_only else []
    if os.name == "posix":
        # In this process's place, so that signals reach the server and nothing is left behind.
        os.execv(sys.executable, command)
    raise typer.Exit(subprocess.call(command))


def _shows_what_came(directory: Path) -> bool:
    """Whether nothing was run here yet and there is a run that came with the package to look at."""
    from simulator.results.small import shipped_runs

    return directory == RUNS and not directory.exists() and bool(shipped_runs())
