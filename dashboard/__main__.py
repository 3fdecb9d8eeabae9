"""`python -m dashboard DIR [--port N] [--no-browser] [--read-only]
[--host ADDRESS]`: what `laser-ab dash` runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dashboard.launch import ADDRESS, launch
from dashboard.work.places import DashboardError


def main(arguments: list[str] | None = None) -> int:
    """Serve the dashboard; the exit code is 0, 130 after Ctrl-C, or 1 with a line that says why not."""
    parser = argparse.ArgumentParser(prog="dashboard", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=Path("runs"))
    parser.add_argument("--port", type=int, default=None)
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--host", default=ADDRESS)
    options = parser.parse_args(arguments)
    try:
        launch(
            options.directory,
            options.port,
            open_browser=not options.no_browser,
            read_only=options.read_only,
            host=options.host,
        )
    except DashboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # how it is meant to end
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
