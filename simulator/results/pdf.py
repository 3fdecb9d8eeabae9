"""A page of ours as a PDF, printed by a Chromium that is on this machine.

What pip installs lays out no HTML without libraries of the system, and a browser is on most machines. The
page is whole (`document.as_html`), so that the browser needs nothing from elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from simulator.results.errors import ResultsError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
_MACOS = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
_PATIENCE_S = 60.0
# No request that the page did not make, and no page numbers or dates around it.
_ARGUMENTS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-pdf-header-footer",
)
_REMEDY = "Install one (apt-get install chromium), or open the page of --format html and print it from there."


def chromium_path() -> str | None:
    """Where a Chromium, Chrome or Edge is; None where there is none."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return found or (str(_MACOS) if _MACOS.is_file() else None)


def as_pdf(page: str) -> bytes:
    """Print a whole HTML page.

    Raises:
        ResultsError: there is no such browser, or it printed nothing.
    """
    path = chromium_path()
    if path is None:
        raise ResultsError(
            "PDF", "found no Chromium, Chrome or Edge, expected one to print the page.", _REMEDY
        )
    # Root may not use the sandbox, and the page has no script that it would hold.
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with TemporaryDirectory() as name:
        folder = Path(name)
        source, out = folder / "page.html", folder / "page.pdf"
        source.write_text(page, encoding="utf-8")
        own = [f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={out}", source.as_uri()]
        try:
            done = subprocess.run(
                [path, *_ARGUMENTS, *sandbox, *own],
                capture_output=True, text=True, errors="replace", timeout=_PATIENCE_S, check=False,
            )  # fmt: skip
            said = done.stderr.strip().splitlines()[-1:]
        except (OSError, subprocess.TimeoutExpired) as error:
            said = [str(error)]
        if not out.is_file():
            raise ResultsError(path, f"printed no PDF ({' '.join(said)}), expected one.", _REMEDY)
        return out.read_bytes()
