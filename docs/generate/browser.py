"""Pictures of the dashboard's pages, by a Chromium and playwright, which the [dev] extra brings."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SETTLED = "[data-testid='stApp'][data-test-script-state='notRunning']"
CHART = "[data-testid='stVegaLiteChart'] canvas, [data-testid='stVegaLiteChart'] svg"
Prepare = Callable[[Any], None]


@contextmanager
def photographer(runs: Path) -> Iterator[Callable[[str, Path, int, Prepare | None], None]]:
    """Serve the dashboard over a folder; yields what takes a picture of a page.

    Its arguments: the page's path, where the picture goes, its height, and what to do on the page first.

    Raises:
        ValueError: there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise ValueError("found no Chromium, expected one for the pictures: apt-get install chromium.")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    dash = ["-m", "simulator.cli", "dash", str(runs), "--no-browser", "--port", str(port)]
    with subprocess.Popen([sys.executable, *dash], cwd=ROOT, stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            with sync_playwright() as driver:
                browser = driver.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
                )

                def take(path: str, to: Path, height: int, prepare: Prepare | None = None) -> None:
                    page = browser.new_page(viewport={"width": 1280, "height": height})
                    page.goto(f"http://127.0.0.1:{port}/{path}")
                    page.wait_for_selector(SETTLED, timeout=60_000)
                    if prepare is not None:
                        prepare(page)
                        page.wait_for_selector(SETTLED, timeout=60_000)
                    page.wait_for_timeout(2_000)  # charts draw after the script has ended
                    page.screenshot(path=to)
                    page.close()

                yield take
                browser.close()
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise ValueError(f"{url}: no answer in 30 s, expected the dashboard. Run it by hand to see why.")
