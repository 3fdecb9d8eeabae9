"""The pages in a real browser, light and dark; `LASER_AB_SCREENSHOTS=DIR` keeps the pictures."""

import os
import re
import time
from pathlib import Path
from urllib.parse import urlparse

import made_runs
import pytest
from page_driver import until

from benchmarks.dashboard.browser import CHART, SETTLED, chromium, served
from simulator.results.pdf import chromium_path
from simulator.results.read import read_run

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: make test adds it"
)
axe_playwright = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-core is not installed: make test adds it"
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        chromium_path() is None, reason="no Chromium on this machine: apt-get install chromium"
    ),
]
# At least so many, by page.
CHARTS = {
    "scorecard": 1, "latency": 4, "health": 1, "truth": 1, "what_if": 2, "compare": 1, "measured": 5,
}  # fmt: skip
PLAIN = ("", "start", "simulate")  # pages that begin without a chart
PATIENCE_MS = 240_000  # with a page on a machine that is busy
playwright.expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The dashboard over one finished run and one sweep; its address."""
    folder = tmp_path_factory.mktemp("runs")
    made_runs.write_run(folder / "demo")
    made_runs.write_sweep(folder / "budgets")
    with served(folder) as dashboard:
        yield dashboard.address


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser, server):
    """Open a page; afterwards no page error and no request to the outside may have happened."""
    contexts, errors, outside = [], [], []

    def open_page(path: str, scheme: str = "light", width: int = 1280):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 2100})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: _note_error(message, errors))
        page.on("request", lambda request: _note_outside(request.url, outside))
        page.goto(f"{server}{path}")
        settle(page, CHARTS.get(path.strip("/").partition("?")[0], 0))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert outside == []


def _note_outside(url: str, outside: list[str]) -> None:
    parts = urlparse(url)
    if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
        outside.append(url)


def _note_error(message, errors: list[str]) -> None:
    """Keep an error of the console, but for Streamlit's own probes on a page that is not the first."""
    probe = "/_stcore/" in (message.location or {}).get("url", "") and "404" in message.text
    if message.type == "error" and not probe:
        errors.append(message.text)


def settle(page, charts: int = 0) -> None:
    """Until the heading stands, at least so many charts are drawn and the script has run."""
    page.wait_for_selector("h1")
    if charts:
        page.locator(CHART).nth(charts - 1).wait_for(state="attached")
    page.wait_for_selector(SETTLED)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 400)])
@pytest.mark.parametrize("name", [*PLAIN, *CHARTS])
def test_page_draws(opened, tmp_path, name, scheme, width):
    page = opened(f"/{name}", scheme, width)
    assert page.locator("[data-testid='stException']").count() == 0
    assert page.get_by_text("could not be drawn").count() == 0
    assert page.locator(CHART).count() >= CHARTS.get(name, 0)
    assert page.get_by_text("Deploy").count() == 0
    # Tables scroll by themselves; the page never does so sideways.
    page.wait_for_function(f"document.documentElement.scrollWidth <= {width}")
    folder = Path(os.environ.get("LASER_AB_SCREENSHOTS") or tmp_path)
    picture = folder / f"{name or 'runs'}-{scheme}-{width}.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 10_000
    assert barriers_at_rest(page) == []


def barriers(page) -> list[str]:
    """Serious and critical violations that axe-core finds: the rule, how to mend it, and the element.

    One of Streamlit's own is left out: its tables scroll sideways without a tabindex of theirs
    (scrollable-region-focusable). Browsers give such a box the keyboard, as the test below shows.
    """
    return [
        f"{violation['id']}: {node['failureSummary']} {node['html']}"
        for violation in axe_playwright.Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
        if not (violation["id"] == "scrollable-region-focusable" and _is_table(page, node["target"][0]))
    ]


def barriers_at_rest(page, seconds: float = 120) -> list[str]:
    """What is left of them: a style of ours comes a moment after the elements, and colours fade in."""
    deadline = time.monotonic() + seconds
    while (found := barriers(page)) and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    return found


def _is_table(page, selector: str) -> bool:
    return page.locator(selector).locator("xpath=..").get_attribute("data-testid") == "stTable"


def test_a_wide_table_takes_the_focus_and_is_moved_by_keys(opened):
    page = opened("/scorecard", width=400)
    # A box takes the focus only once it scrolls, that is when the table's styles are there: waited for.
    table = page.wait_for_function("""() => {
        const box = document.querySelector("[data-testid='stTable'] > div");
        box?.focus();
        return box === document.activeElement && box;
    }""")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("box => box.scrollLeft > 0", arg=table)


@pytest.mark.parametrize(("scheme", "ink"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 22, 26)")])
def test_chosen_runs_have_the_contrast_of_text(opened, scheme, ink):
    chip = opened("/compare", scheme).locator("[data-tag]").last
    # Streamlit fetches what applies a style of ours after the first elements are drawn: it is waited for.
    playwright.expect(chip.locator("span").first).to_have_css("color", ink)
    ground = chip.evaluate("one => getComputedStyle(one).backgroundColor")
    light, dark = sorted((luminance(colour) for colour in (ink, ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """Relative, of "rgb(r, g, b)"; WCAG 2.2."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_arrow_keys_on_the_slider_change_tiles_and_url(opened):
    page = opened("/what_if")
    tiles = page.locator("[data-testid='stMetricValue']")
    playwright.expect(tiles).to_have_count(6)  # they are drawn one by one
    before = tiles.all_inner_texts()
    slider = page.get_by_role("slider", name="Latency budget (ms)")
    slider.focus()
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    page.wait_for_url("**/what_if?*experiment.budget_ms=15*")
    # The address changes first, then each tile: it is waited for.
    for i, text in enumerate(before):
        playwright.expect(tiles.nth(i)).not_to_have_text(text)
    playwright.expect(tiles).to_have_count(6)


def test_link_with_a_budget_opens_that_point(opened):
    page = opened("/what_if?experiment.budget_ms=10")
    playwright.expect(page.get_by_text("9.00 ms").first).to_be_visible()


def test_scorecard_downloads_its_rows(opened):
    page = opened("/scorecard")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    text = Path(download.value.path()).read_text()
    assert text.startswith("metric,arm,unit,role,control,treatment,lift,")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PDF").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize("name", ["scorecard", "what_if"])
def test_a_chart_is_had_as_a_picture_and_as_a_table(opened, name):
    page = opened(f"/{name}")
    chart = page.locator("[data-testid='stFullScreenFrame']").filter(has=page.locator(CHART)).first
    with page.expect_download() as download:
        # By key, which needs no pointer over a chart that may still move.
        chart.get_by_role("button", name="Download as PNG").press("Enter")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    chart.get_by_role("button", name="Show data").press("Enter")
    page.wait_for_selector("[data-testid='stDataFrame'] canvas")


@pytest.mark.slow
def test_an_experiment_is_started_stopped_and_finished_from_the_browser_over_a_restart(browser, tmp_path):
    """The real command line: a small world, trained and served."""
    run = tmp_path / "my-experiment"

    def opened_at(address: str, path: str):
        page = browser.new_page(viewport={"width": 1280, "height": 2100})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{address}{path}")
        settle(page)
        return page

    with served(tmp_path) as dashboard:
        page = opened_at(dashboard.address, "/start")
        settings = page.get_by_label("Further settings, KEY=VALUE, one a line")
        settings.fill("traffic.world.users=400\ntraffic.world.requests=1500")
        settings.blur()
        playwright.expect(page.get_by_text("--set traffic.world.requests=1500").first).to_be_visible()
        page.get_by_role("button", name="Start", exact=True).click()
        until(lambda: (run / "manifest.json").is_file())
        page = opened_at(dashboard.address, "/scorecard?run=my-experiment")
        page.get_by_role("button", name="Stop").click()
        until(lambda: read_run(run).status != "running")
        assert read_run(run).status == "interrupted"
    with served(tmp_path) as dashboard:
        page = opened_at(dashboard.address, "/scorecard?run=my-experiment")
        page.get_by_role("button", name="Resume").click()
        until(lambda: read_run(run).status == "running")
    # The server has gone; the work goes on.
    until(lambda: read_run(run).status != "running")
    assert read_run(run).status == "finished"
    with served(tmp_path) as dashboard:
        page = opened_at(dashboard.address, "/scorecard?run=my-experiment")
        playwright.expect(page.locator("[data-testid='stMetricValue']")).to_have_count(4)
