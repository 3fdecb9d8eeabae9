"""The pictures of docs/tour.md: `python -m docs.generate.tour RUNS [NAME...]`, all or those named.

RUNS is a folder with a run and a sweep of it.

RUNS/demo is a run, RUNS/budgets a sweep of its latency budget. The pictures there are were taken of:

    laser-ab demo --out runs/demo
    laser-ab sweep runs/demo/experiment.toml --out runs/budgets
    laser-ab breakdown runs/demo
    laser-ab channels runs/demo
    laser-ab designs runs/demo --assignments 40
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.dashboard.browser import CHART
from docs.generate.browser import Prepare, photographer

PICTURES = Path(__file__).resolve().parents[1] / "tour"


def _hold(page: Any) -> None:
    page.get_by_role("button", name="Hold this run").click()
    page.wait_for_selector("[data-testid='stMetricValue']", timeout=600_000)
    slider = page.get_by_role("slider").first
    slider.focus()
    for _ in range(4):
        slider.press("ArrowLeft")


def _estimate(page: Any) -> None:
    page.get_by_role("button", name="Check and estimate").click()
    page.get_by_text("can tell").first.wait_for(timeout=120_000)


def _drawn(page: Any) -> None:
    page.wait_for_selector(CHART)


def _closer(page: Any) -> None:
    _drawn(page)
    page.get_by_text("Look closer").evaluate("one => one.scrollIntoView()")


# Picture -> page, height, and what is done on the page first.
PAGES: dict[str, tuple[str, int, Prepare | None]] = {
    "runs": ("", 720, None),
    "scorecard": ("scorecard?run=demo", 1250, _drawn),
    "latency": ("latency?run=demo", 1150, _drawn),
    "health": ("health?run=demo", 1000, None),
    "channels": ("scorecard?run=demo&closer=Channels", 620, _closer),
    "truth": ("truth?run=demo", 1550, _drawn),
    "segments": (
        "truth?run=demo&question=For+whom+is+it+true%3F&thirds=latency&segment_metric=CTR",
        1100,
        _drawn,
    ),
    "measured": ("measured?run=demo", 3180, _drawn),
    "what-if": ("what_if?sweep=budgets", 2250, _drawn),
    "simulate": ("simulate?run=demo", 1200, _hold),
    "compare": ("compare?runs=demo", 900, _drawn),
    "start": ("start?clone=demo", 900, _estimate),
}


def main(runs: Path, names: Sequence[str]) -> None:
    """Take these pictures."""
    PICTURES.mkdir(exist_ok=True)
    with photographer(runs) as take:
        for name in names:
            path, height, prepare = PAGES[name]
            take(path, PICTURES / f"{name}.png", height, prepare)
            print(f"docs/tour/{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(PAGES))
