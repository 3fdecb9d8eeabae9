"""The README's scorecard and picture, from a finished demo: `python -m docs.generate.demo runs/demo`.

Needs a Chromium and playwright, which the [dev] extra brings.
"""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from simulator import read_run
from simulator.results.report import render

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- scorecard:begin -->\n", "<!-- scorecard:end -->"
WIDTH, HEIGHT = 1280, 1270


def scorecard(run: Path) -> str:
    """The scorecard as the terminal shows it, without colours."""
    card = read_run(run).scorecard
    if card is None:
        raise ValueError(f"{run}: found no scorecard, expected a finished run. Make one: laser-ab demo.")
    lines = [line.rstrip() for line in render(card, "table", width=100).splitlines()]
    return "```text\n" + "\n".join(lines).strip("\n") + "\n```\n"


def picture(runs: Path, to: Path) -> None:
    """The scorecard of the newest of a folder of runs."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise ValueError("found no Chromium, expected one for the picture: apt-get install chromium.")
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
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
                page.goto(f"http://127.0.0.1:{port}/scorecard")
                page.wait_for_selector("[data-testid='stApp'][data-test-script-state='notRunning']")
                page.wait_for_selector(
                    "[data-testid='stVegaLiteChart'] canvas, [data-testid='stVegaLiteChart'] svg"
                )
                page.wait_for_timeout(1_000)
                page.screenshot(path=to)
                browser.close()
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the dashboard did not come up in 30 s")


def main(run: Path) -> None:
    """Write both."""
    readme = ROOT / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    readme.write_text(f"{before}{begin}{scorecard(run)}{end}{after}", encoding="utf-8")
    picture(run.parent, ROOT / "docs" / "dashboard.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
