"""The dashboard as a process, and a Chromium to look at it: for its benchmark, its pictures and its tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.launch import free_port
from simulator.results.pdf import chromium_path

ROOT = Path(__file__).resolve().parents[2]
SETTLED = "[data-testid='stApp'][data-test-script-state='notRunning']"
CHART = "[data-testid='stVegaLiteChart'] canvas, [data-testid='stVegaLiteChart'] svg"
PATIENCE_S = 300.0
# Nothing of a browser's own: no sandbox in a container, no GPU, and no request that a page did not make.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@dataclass(frozen=True)
class Served:
    """A dashboard at work: its address, without a slash at the end, and its process."""

    address: str
    pid: int


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """The dashboard over a folder of results, until the block ends.

    Raises:
        RuntimeError: it ended at once, or did not answer.
    """
    port = free_port()
    command = [sys.executable, "-m", "dashboard", str(folder), "--port", str(port), "--no-browser"]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
            yield Served(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end_s:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"{url}: no answer, expected the dashboard. Run laser-ab dash by hand to see why.")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright's, until the block ends.

    Raises:
        RuntimeError: there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    path = chromium_path()
    if path is None:
        raise RuntimeError("Found no Chromium, expected one. Install it: apt-get install chromium.")
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=list(_ARGUMENTS), timeout=1000 * PATIENCE_S)
        try:
            yield found
        finally:
            found.close()
