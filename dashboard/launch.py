"""Starting the dashboard on this machine, for this machine's browser alone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from dashboard.palette import ACCENT_ON_DARK, ACCENT_ON_LIGHT, DARK

ADDRESS = "127.0.0.1"
RESULTS_VARIABLE = "LASER_AB_RESULTS"  # where the pages find the runs
READ_ONLY_VARIABLE = "LASER_AB_READ_ONLY"  # "1": the pages change nothing and start nothing
APP = Path(__file__).with_name("app.py")


class DashboardError(ValueError):
    """The dashboard cannot start; the message says why and what to do."""


def launch(
    directory: Path, port: int | None = None, open_browser: bool = True, read_only: bool = False
) -> None:
    """Serve the dashboard until it is stopped.

    Args:
        directory: where run and sweep folders are, or one such folder. Empty or not there yet, the
            pages show the command that makes a first run.
        port: None takes a free one.
        open_browser: whether to open it in the default browser.
        read_only: whether the pages change nothing and start nothing.

    Raises:
        DashboardError: the port is busy, or the directory is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise DashboardError(
            f"{directory}: found a file, expected the folder of your runs. Give the folder it is in."
        )
    chosen = free_port() if port is None else checked_port(port)
    # The environment, since Streamlit runs the app's script itself and passes no arguments.
    os.environ[RESULTS_VARIABLE] = str(directory.resolve())
    os.environ[READ_ONLY_VARIABLE] = "1" if read_only else "0"

    import streamlit as st  # 0.6 s; the command line's --help need not wait for it

    st.App(APP).run(config=settings(chosen, open_browser))


def settings(port: int, open_browser: bool) -> dict[str, object]:
    """Streamlit's settings: local, silent towards the world, no developer's tools."""
    return {
        "server.address": ADDRESS,
        "server.port": port,
        "server.headless": not open_browser,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        # Each on its own: one colour for both would switch off following the system's light or dark.
        "theme.light.primaryColor": ACCENT_ON_LIGHT,
        "theme.dark.primaryColor": ACCENT_ON_DARK,
        # Captions are this colour at 60 %, which must still be 4.5 to 1.
        "theme.light.textColor": DARK,
        "theme.dark.textColor": "#FAFAFA",
    }


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def checked_port(port: int) -> int:
    """`port`, if a server can listen on it.

    Raises:
        DashboardError: it is busy, not allowed or no port.
    """
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((ADDRESS, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DashboardError(
            f"Port {port}: {reason}; expected a free port of this machine. "
            "Give another with --port, or leave --port out and a free one is taken."
        ) from error
    return port
