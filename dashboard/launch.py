"""Starting the dashboard: for this machine's browser alone, or behind a token."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from contextlib import suppress
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

from dashboard.palette import ACCENT_ON_DARK, ACCENT_ON_LIGHT, DARK
from dashboard.work.places import READ_ONLY_VARIABLE, RESULTS_VARIABLE, TOKEN_VARIABLE, DashboardError

ADDRESS = "127.0.0.1"
APP = Path(__file__).with_name("app.py")


def launch(
    directory: Path,
    port: int | None = None,
    open_browser: bool = True,
    read_only: bool = False,
    host: str = ADDRESS,
) -> None:
    """Serve the dashboard until it is stopped.

    Args:
        directory: where run and sweep folders are, or one such folder. Empty or not there yet, the
            pages show the command that makes a first run.
        port: None takes a free one.
        open_browser: whether to open it in the default browser.
        read_only: whether the pages change nothing and start nothing.
        host: the address to listen on. Where others can reach it, the pages ask for a token, which is in the
            address that is printed; LASER_AB_TOKEN sets one.

    Raises:
        DashboardError: the port is busy, or the directory is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise DashboardError(
            f"{directory}: found a file, expected the folder of your runs. Give the folder it is in."
        )
    chosen = free_port(host) if port is None else checked_port(port, host)
    # The environment, since Streamlit runs the app's script itself and passes no arguments.
    os.environ[RESULTS_VARIABLE] = str(directory.resolve())
    os.environ[READ_ONLY_VARIABLE] = "1" if read_only else "0"
    if not is_loopback(host):
        token = os.environ.setdefault(TOKEN_VARIABLE, secrets.token_urlsafe(24))
        told = (
            f"Others can reach this dashboard, by this address alone: http://{host}:{chosen}/?token={token}"
        )
    else:
        os.environ.pop(TOKEN_VARIABLE, None)
        told = f"The dashboard: http://{host}:{chosen} (Ctrl-C ends it)"
    print(told, flush=True)

    import streamlit as st  # 0.6 s; the command line's --help need not wait for it

    # A page's script would keep the interpreter 5 ms at a time from the thread that sends what it has drawn,
    # for each of some sixty messages: a sweep's slider took a quarter longer.
    sys.setswitchinterval(0.0005)
    # Half a second of imports that the first page need not wait for: its reader's browser takes longer to
    # begin. A module that cannot be imported is told of by the page that needs it.
    Thread(target=_import_pages, daemon=True).start()
    st.App(APP).run(config=settings(chosen, open_browser, host))


def _import_pages() -> None:
    """Import what most pages need; the pages themselves are scripts."""
    with suppress(ImportError):
        for name in ("dashboard.limits", "dashboard.sections.certificate", "simulator.results.document"):
            import_module(name)


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def settings(port: int, open_browser: bool, host: str = ADDRESS) -> dict[str, object]:
    """Streamlit's settings: local, silent towards the world, no developer's tools."""
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": not open_browser,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        # A page shows what it draws, and not the values that stand alone on its lines.
        "runner.magicEnabled": False,
        # A slider has a value to begin with, and buttons that move it: no warning in the terminal.
        "global.disableWidgetStateDuplicationWarning": True,
        # With Streamlit's welcome goes its offer, on the page, to install aids for writing Streamlit apps.
        "logger.hideWelcomeMessage": True,
        # Each on its own: one colour for both would switch off following the system's light or dark.
        "theme.light.primaryColor": ACCENT_ON_LIGHT,
        "theme.dark.primaryColor": ACCENT_ON_DARK,
        # Captions are this colour at 60 %, which must still be 4.5 to 1.
        "theme.light.textColor": DARK,
        "theme.dark.textColor": "#FAFAFA",
    }


def free_port(host: str = ADDRESS) -> int:
    """A port that is free now.

    Raises:
        DashboardError: there is no such address on this machine.
    """
    with _probe(host) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise DashboardError(
                f"Address {host}: {error.strerror or error}; expected one of this machine. Correct --host."
            ) from error
        return int(probe.getsockname()[1])


def checked_port(port: int, host: str = ADDRESS) -> int:
    """`port`, if a server can listen on it.

    Raises:
        DashboardError: it is busy, not allowed or no port.
    """
    try:
        with _probe(host) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DashboardError(
            f"Port {port}: {reason}; expected a free port of this machine. "
            "Give another with --port, or leave --port out and a free one is taken."
        ) from error
    return port


def _probe(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
