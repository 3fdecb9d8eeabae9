"""A scorecard handed on: the HTML is whole and loads nothing, texts are words, tables are the terminal's."""

import re
from html.parser import HTMLParser

import made_runs
import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.results import pdf
from simulator.results.document import as_html, as_markdown
from simulator.results.errors import ResultsError
from simulator.results.report import headlines, render

EVIL = '<script>alert(1)</script> ![x](http://example.com/x.png) | "quoted"'
VOID = {"meta", "line", "circle", "polygon"}


class Tags(HTMLParser):
    """Every tag with its attributes, and the words between; refuses what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parsed(page: str) -> Tags:
    found = Tags()
    found.feed(page)
    found.close()
    assert found.open == []
    return found


def cards() -> list[dict]:
    three = {"control": made_runs.control(), "laser": made_runs.treatment(), "twin": made_runs.treatment()}
    return [
        made_runs.scorecard(),
        made_runs.scorecard(three, notes=[EVIL], run=EVIL),
        made_runs.scorecard(made_runs.two_arms(40, 45)),
    ]


@pytest.mark.parametrize("card", cards())
def test_the_page_is_whole_and_loads_and_runs_nothing(card):
    found = parsed(as_html(card))
    assert {tag for tag, _ in found.tags}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "base", "a"}
    )
    for _, attributes in found.tags:
        assert {"src", "href", "srcset", "data"}.isdisjoint(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in as_html(card)
    assert "@import" not in as_html(card)


@pytest.mark.parametrize("card", cards())
def test_every_figure_of_the_terminal_is_in_both_documents(card):
    figures = set(re.findall(r"[+−]?\d[\d.,]*\d[%¤]?", render(card, "text", verbose=True)))
    assert len(figures) > 20
    page = " ".join(parsed(as_html(card)).words)
    assert {figure for figure in figures if figure not in page} == set()
    assert {figure for figure in figures if figure not in as_markdown(card)} == set()


def test_the_drawing_places_interval_estimate_and_truth():
    found = parsed(as_html(made_runs.scorecard()))
    drawn = [attributes["aria-label"] for tag, attributes in found.tags if tag == "svg"]
    assert len(drawn) == 2  # money and clicks; latency, whose lift is of another size
    assert "ADVV per request: +2.6%" in drawn[0]
    circles = [float(a["cx"]) for tag, a in found.tags if tag == "circle"]
    lines = [
        (float(a["x1"]), float(a["x2"])) for tag, a in found.tags if tag == "line" and "stroke-width" in a
    ]
    assert all(low < at < high for at, (low, high) in zip(circles, lines, strict=True))
    assert len([tag for tag, _ in found.tags if tag == "polygon"]) == 5


def test_too_few_users_have_no_interval_drawn():
    found = parsed(as_html(made_runs.scorecard(made_runs.two_arms(40, 45))))
    assert not [tag for tag, _ in found.tags if tag == "circle"]
    assert [tag for tag, _ in found.tags if tag == "polygon"]


def test_markdown_keeps_its_tables_whatever_a_name_holds():
    page = as_markdown(cards()[1])
    assert "![x]" not in page
    assert "<script>" not in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    for table in re.split(r"\n\n", page):
        lines = table.splitlines()
        if lines and lines[0].startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert len(rows) > 10


@pytest.mark.browser
@pytest.mark.skipif(
    pdf.chromium_path() is None, reason="no Chromium on this machine: apt-get install chromium"
)
def test_the_pdf_is_the_page_on_a4_with_words_for_its_drawings():
    printed = pdf.as_pdf(as_html(made_runs.scorecard()))
    assert printed.startswith(b"%PDF-")
    assert printed.rstrip().endswith(b"%%EOF")
    title = f"\ufeff{headlines(made_runs.scorecard())[0]}".encode("utf-16-be").hex().upper()
    assert f"/Title <{title}>".encode() in printed
    sizes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert {(round(float(width)), round(float(height))) for width, height in sizes} == {(595, 842)}
    assert printed.count(b"/Alt ") == 2


def test_a_pdf_without_a_browser_says_what_to_do(monkeypatch):
    monkeypatch.setattr(pdf, "chromium_path", lambda: None)
    with pytest.raises(ResultsError, match=r"found no Chromium.*expected one.*--format html"):
        pdf.as_pdf("<p>")


@pytest.mark.parametrize("ends", ["echo out of memory >&2; exit 1", "exit 0"])
def test_a_browser_that_prints_nothing_is_named_with_what_it_said(monkeypatch, tmp_path, ends):
    browser = tmp_path / "chromium"
    browser.write_text(f"#!/bin/sh\n{ends}\n")
    browser.chmod(0o755)
    monkeypatch.setattr(pdf, "chromium_path", lambda: str(browser))
    said = "out of memory" if "memory" in ends else ""
    with pytest.raises(ResultsError, match=rf"chromium: printed no PDF \({said}\), expected one"):
        pdf.as_pdf("<p>")


def test_the_command_line_writes_the_pdf_of_the_page_outside_of_results(monkeypatch, tmp_path):
    run = made_runs.write_run(tmp_path / "run", requests=200)
    monkeypatch.setattr(pdf, "as_pdf", str.encode)
    done = CliRunner().invoke(app, ["report", str(run), "--pdf", str(tmp_path / "card.pdf")])
    assert done.exit_code == 0
    assert "ADVV per request" in done.stdout
    assert (tmp_path / "card.pdf").read_text().startswith("<!doctype html>")
    refused = CliRunner().invoke(app, ["report", str(run), "--pdf", str(run / "card.pdf")])
    assert refused.exit_code == 2
    assert not (run / "card.pdf").exists()
