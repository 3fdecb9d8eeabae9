"""`laser-ab dash`: open the dashboard on a folder of runs."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer


def dash(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with runs and sweeps.")] = Path(
        "runs"
    ),
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="A free one by default.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Open the dashboard in a browser, on this machine only; Ctrl-C ends it."""
    # A process of its own: the simulator may not import the dashboard, which reads its results.
    command = [sys.executable, "-m", "dashboard", str(directory)]
    command += ["--port", str(port)] if port is not None else []
    command += ["--no-browser"] if no_browser else []
    with subprocess.Popen(command) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # The terminal sent it Ctrl-C too, and that is the ordinary way to close it.
            process.wait()
            code = 0
    if code:
        raise typer.Exit(1 if code < 0 else code)
