"""Where the dashboard may write: beside results, below their folder; nowhere at all if it is read-only."""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from simulator.results.index import BESIDE

RESULTS_VARIABLE = "LASER_AB_RESULTS"  # where the pages find the runs
TOKEN_VARIABLE = "LASER_AB_TOKEN"  # what the pages ask for, where others can reach them
READ_ONLY_VARIABLE = "LASER_AB_READ_ONLY"  # "1": the pages change nothing and start nothing


class DashboardError(ValueError):
    """The dashboard cannot start, or cannot do what it was asked; the message says why and what to do."""


def results_folder() -> Path:
    """Where runs are looked for: the environment's choice, else ./runs."""
    return Path(os.environ.get(RESULTS_VARIABLE, "runs"))


def read_only() -> bool:
    """Whether this dashboard only shows."""
    return os.environ.get(READ_ONLY_VARIABLE) == "1"


def shown(path: Path) -> str:
    """A path as somebody would type it where the dashboard was started: relative if it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def admitted(token: str | None) -> bool:
    """Whether somebody with this token may see the pages; anybody on this machine may."""
    wanted = os.environ.get(TOKEN_VARIABLE)
    return not wanted or hmac.compare_digest((token or "").encode(), wanted.encode())


def refuse_read_only() -> None:
    """Raise where this dashboard only shows.

    Raises:
        DashboardError: it does.
    """
    if read_only():
        raise DashboardError("This dashboard is read-only. Start it without --read-only to change anything.")


def beside(root: Path) -> Path:
    """The folder for what belongs to no result; made if it is not there.

    Raises:
        DashboardError: the dashboard is read-only, or its folder is itself a result, which never changes.
    """
    refuse_read_only()
    if (root / "manifest.json").is_file():
        raise DashboardError(
            f"{root} is a result itself. To write notes or start work, open the folder it is in: "
            f"laser-ab dash {root.parent}"
        )
    path = root / BESIDE
    path.mkdir(parents=True, exist_ok=True)
    return path


def within(root: Path, name: str) -> Path:
    """A path below the results folder, by its name relative to it.

    Raises:
        DashboardError: it leads outside, by dots, by a link or by being absolute, is hidden, or is the folder
            itself.
    """
    path = (root / name).resolve()
    parts = Path(name).parts
    hidden = not parts or any(part.startswith(".") for part in parts)
    if hidden or Path(name).is_absolute() or not path.is_relative_to(root.resolve()):
        raise DashboardError(f"Found the name {name!r}, expected a folder below {root}. Choose another name.")
    return path
