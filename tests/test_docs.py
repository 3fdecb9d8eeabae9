"""Pages made from code are up to date, and no page links to something that is not there."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from docs.generate import what_if
from docs.generate.__main__ import DOCS, PAGES
from simulator.whatif.axes import parse_axes

ROOT = Path(__file__).resolve().parents[1]
HAND = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_made_from_code_is_up_to_date(name: str) -> None:
    found = (DOCS / name).read_text(encoding="utf-8")
    assert found == PAGES[name](), f"docs/{name} is stale: run `make docs`"


def anchors(page: Path) -> set[str]:
    """The names by which GitHub reaches the headings of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", HAND, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_functions_that_the_architecture_names_are_where_it_says() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"\[`(\w+)`\]\((\S+\.py)\)", text)
    assert len(named) > 15
    wrong = [
        f"{name} in {path}"
        for name, path in named
        if not re.search(
            rf"^\s*(def|class) {name}\b", (DOCS / path).read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    assert wrong == []


def test_the_index_leads_to_every_page() -> None:
    linked = set(LINK.findall((DOCS / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= linked


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    released = re.findall(
        r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    cited = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert released[:1] == cited == [project["version"]]


def test_the_what_if_page_has_the_cells_of_the_sweeps_it_shows() -> None:
    text = what_if.PAGE.read_text(encoding="utf-8")
    question, traffic, budgets = (
        {axis.key: axis.values for axis in parse_axes(words[1 + words.index("--over") :: 2])}
        for words in what_if.sweeps(text)
    )
    shown = re.findall(r"^\| ([\d,]+) \| (\d\S*) \| [+-]", text, re.MULTILINE)
    cells = itertools.product(question[what_if.HISTORY], question[what_if.LOAD])
    assert shown == [(f"{history:,}", f"{load:g}") for history, load in cells]
    loads = " | ".join(f"{load:g}" for load in traffic[what_if.LOAD])
    assert f"| lift at load {loads} |" in text
    limits = re.findall(r"^\| ([\d,]+) \|.* ms ± \S+ \|$", text, re.MULTILINE)
    assert limits == [f"{history:,}" for history in budgets[what_if.HISTORY]]
