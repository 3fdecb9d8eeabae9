"""How long the dashboard makes its reader wait: pages of a run of full size, a list of many runs.

    python benchmarks/dashboard/load.py [--quick] [--run RUN | --requests N] [--json] [--out FILE]

The full form draws a run of five million requests, the quick one of 200,000; their numbers are drawn, their
tables are a run's. Pages are timed in Chromium from the request to the settled page; without Chromium or
playwright only the list is measured. RUN is a finished run of one's own: it is held and asked again, and the
time is from the slider's key to the settled page. `--requests 100000` makes one of that size first, by
`finished` of benchmarks/simulation/what_if.py: two arms, scores drawn.

A browser without a cache takes most of a first page, for 130 scripts of Streamlit's and Vega's; the server
a tenth. On slower cores first page, page switch and a sweep's slider (.36 s where .3 is wanted) missed
their bars before charts were made once. Tried, and not kept: those files from memory (.25 -> .16 s of the
server's CPU, nothing of the wait), and a header that names Vega's beforehand (they are compiled first, and
the page settles later).
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.dashboard.browser import CHART, SETTLED, chromium, served
from benchmarks.dashboard.results import copies, write_run, write_sweep
from benchmarks.result import Measured, bar, options, show
from simulator.results.index import list_results
from simulator.results.pdf import chromium_path

SEED = 7
REQUESTS, QUICK_REQUESTS = 5_000_000, 200_000
MANY = 1000  # runs of the list


def measure(quick: bool, own: Path | None, own_requests: int | None) -> Measured:
    """Rows and bars.

    Args:
        quick: whether a smaller run is drawn.
        own: a finished run to hold and ask again.
        own_requests: or of how many requests to make one.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        requests = QUICK_REQUESTS if quick else REQUESTS
        run = write_run(folder / "results" / "drawn", requests)
        write_sweep(folder / "results" / "sweep", requests)
        rows = [_list(copies(run, folder / "many", MANY))]
        if chromium_path() is None:
            rows.append({"what": "no Chromium here: pages were not measured"})
        else:
            with served(folder / "results") as dashboard:
                rows += _pages(dashboard.address, dashboard.pid, requests)
            if own_requests is not None:
                own = _made(own_requests, folder / "own")
            if own is not None:
                with served(own.parent) as dashboard:
                    rows.append(_asked(dashboard.address, own))
    found = {key: value for row in rows for key, value in row.items()}
    return rows, [
        bar("list of 1,000 runs, lines kept (s)", found["list_warm_s"], 1.0, better="lower"),
        bar("first page, cold (s)", found.get("first_cold_s"), 4.0, better="lower"),
        bar("first page, warm (s)", found.get("first_warm_s"), 2.0, better="lower"),
        bar("page switch (s)", found.get("switch_s"), 1.0, better="lower"),
        bar("slider of a sweep to settled page (s)", found.get("slider_s"), 0.3, better="lower"),
        bar("slider to settled page, simulated again (s)", found.get("asked_s"), 1.5, better="lower"),
        bar("of it the page's own (s)", found.get("asked_page_s"), 0.3, better="lower"),
        bar("memory of the server (MB)", found.get("server_mb"), 500.0, better="lower"),
        bar("first load (MB)", found.get("first_load_mb"), 6.0, better="lower"),
        bar("torch in the server", found.get("torch"), 0.0, better="lower"),
    ]


def _list(folder: Path) -> dict[str, Any]:
    """Seconds to list many runs: the first time, and when their lines are kept."""
    times = []
    for _ in range(2):
        began_s = time.perf_counter()
        number = len(list_results(folder))
        times.append(time.perf_counter() - began_s)
    return {"runs": number, "list_cold_s": round(times[0], 3), "list_warm_s": round(times[1], 3)}


def _pages(address: str, server: int, requests: int) -> list[dict[str, Any]]:
    """Of a browser: the first page before and after the server has drawn one, a switch, a slider, memory."""
    with chromium() as browser:
        loaded: list[int] = []
        page = browser.new_page(viewport={"width": 1440, "height": 1400})
        page.on("requestfinished", lambda request: loaded.append(request.sizes()["responseBodySize"]))
        cold = _timed(page, lambda: page.goto(f"{address}/scorecard"))
        first_load = sum(loaded)
        latency_cold = _timed(page, lambda: _to(page, "Latency"))
        switches = [
            _timed(page, lambda to=to: _to(page, to)) for to in ("Health", "Scorecard", "Latency", "Runs")
        ]
        again = browser.new_page(viewport={"width": 1440, "height": 1400})
        warm = _timed(again, lambda: again.goto(f"{address}/scorecard"))
        _timed(again, lambda: again.goto(f"{address}/what_if"))
        again.wait_for_selector(CHART)
        sliders = [_slide(again) for _ in range(3)]
    return [
        {"requests": requests, "first_cold_s": cold, "first_warm_s": warm, "first_load_mb": first_load / 1e6},
        {"latency_of_all_requests_cold_s": latency_cold, "switch_s": sorted(switches)[len(switches) // 2]},
        {"slider_s": sorted(sliders)[1]},
        {
            "server_mb": _peak_mb(server),
            "torch": float("libtorch" in Path(f"/proc/{server}/maps").read_text()),
        },
    ]


def _made(requests: int, folder: Path) -> Path:
    """A finished run of so many requests, whose scores are kept beside it."""
    from benchmarks.simulation.what_if import finished  # torch, which the rest does without

    folder.mkdir()
    os.environ |= {"LASER_AB_CACHE": str(folder / "cache"), "LASER_AB_CACHE_GB": "10"}
    return finished(requests, folder)


def _asked(address: str, run: Path) -> dict[str, Any]:
    """A run held and asked again: from the slider's key to the settled page, and what of it is the page's."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 1400})
        _timed(page, lambda: page.goto(f"{address}/simulate?run={run.name}"))
        page.get_by_role("button", name="Hold this run").click()
        page.wait_for_selector("[data-testid='stMetricValue']", timeout=600_000)
        page.wait_for_selector(SETTLED)
        moves = [(_slide(page), _said_s(page)) for _ in range(5)]
    asked = sorted(total for total, _ in moves)[2]
    own = sorted(total - simulated for total, simulated in moves)[2]
    arms = json.loads((run / "scorecard.json").read_text())["arms"].values()
    requests = sum(arm["requests"] for arm in arms)
    return {"asked": run.name, "asked_requests": requests, "asked_s": asked, "asked_page_s": round(own, 3)}


def _said_s(page: Any) -> float:
    """How long the page says that the simulation took."""
    text = page.get_by_text(re.compile("Simulated in")).first.inner_text()
    return float(text.removeprefix("Simulated in ").partition(" s")[0])


def _to(page: Any, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("heading", name=name).first.wait_for()


# Set up before the key, so that neither the clock nor the end is the driver's. A run of the script is awaited
# from its beginning, or from what it changed where both came in one frame; two frames later it is drawn.
_SETTLING = """() => { window.settling = new Promise((resolve, reject) => {
  addEventListener('keydown', key => {
    const app = document.querySelector("[data-testid='stApp']");
    const found = document.getElementsByClassName('stMetric');
    const tiles = () => [...found].map(tile => tile.textContent).join();
    const before = tiles();
    let ran = false;
    const watch = new MutationObserver(() => {
      const state = app.getAttribute('data-test-script-state');
      ran ||= state === 'running' || tiles() !== before;
      if (!ran || state !== 'notRunning') return;
      watch.disconnect();
      requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - key.timeStamp)));
    });
    const filter = {attributes: true, attributeFilter: ['data-test-script-state']};
    watch.observe(app, {...filter, subtree: true, childList: true, characterData: true});
    setTimeout(() => reject(new Error('the page did not settle')), 60000);
  }, {once: true, capture: true});
}); }"""


def _slide(page: Any) -> float:
    """Seconds from a key on the first slider until what it changes has been drawn."""
    tiles = page.locator("[data-testid='stMetric']")
    before = tiles.all_inner_texts()
    slider = page.get_by_role("slider").first
    slider.focus()
    page.evaluate(_SETTLING)
    slider.press("ArrowLeft")
    milliseconds: float = page.evaluate("window.settling")
    assert len(tiles.all_inner_texts()) == len(before)
    assert tiles.all_inner_texts() != before
    return round(milliseconds / 1000, 3)


def _timed(page: Any, work: Any) -> float:
    """Seconds until the page has settled after some work."""
    began_s = time.perf_counter()
    work()
    page.wait_for_selector(SETTLED, timeout=120_000)
    return round(time.perf_counter() - began_s, 3)


def _peak_mb(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return round(int(found[1]) / 1000, 1) if found else float("nan")


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--run", type=Path, help="a finished run to hold and ask again")
    parser.add_argument("--requests", type=int, help="make a run of so many requests to hold and ask again")
    args = parser.parse_args()
    show("dashboard_load", SEED, args, measure(args.quick, args.run, args.requests))
