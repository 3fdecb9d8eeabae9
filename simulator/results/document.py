"""A scorecard as a document to hand on: one HTML file that loads nothing, or Markdown.

The same words and tables as the terminal's. In HTML every text is escaped, and the lifts are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from simulator.results import numbers
from simulator.results.overview import overview, serving
from simulator.results.report import headings, headlines, notes, table_row
from simulator.results.scorecard import Effect, control_name, effects, treatment_names

Rows = Sequence[Sequence[str]]
_STYLE = """
:root { color-scheme: light dark; --ink: #14161a; --paper: #fff; --line: #c9cdd3; --estimate: #1d62a0;
  --truth: #7a3fb8; }
@media (prefers-color-scheme: dark) { :root { --ink: #f2f3f5; --paper: #16171a; --line: #4a4f58;
  --estimate: #6cb0ea; --truth: #c69cf0; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; } svg { max-width: 100%; height: auto; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
@page { size: A4; margin: 14mm; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } .wide { overflow: visible; }
  h2 { break-after: avoid; } tr, svg { break-inside: avoid; } th, td { padding: .2rem .4rem; } }
"""
_WIDTH, _LEFT, _RIGHT, _ROW = 760, 190, 90, 44  # of the drawing, in pixels


def as_html(scorecard: Mapping[str, Any]) -> str:
    """A whole HTML page, without a script and without anything that is loaded from elsewhere."""
    title, *lines = headlines(scorecard)
    parts = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(line)}</p>" for line in lines)]
    for heading, rows in _tables(scorecard):
        parts.append(f"<h2>{escape(heading)}</h2>{_html_table(rows)}")
    for arm in treatment_names(scorecard):
        own = [effect for effect in effects(scorecard) if effect.arm == arm]
        drawings = [_drawing([e for e in own if (e.unit == "ms") is slow], arm) for slow in (False, True)]
        if any(drawings):
            words = f"Lifts of {arm} with their intervals, the truth as a diamond"
            parts += [f"<h2>{escape(words)}</h2>", *drawings]
    parts.append("<h2>What these numbers are</h2>")
    parts += [f"<p>{escape(note)}</p>" for note in notes(scorecard, servers=True)]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def as_markdown(scorecard: Mapping[str, Any]) -> str:
    """The same words and tables in GitHub's Markdown."""
    title, *lines = headlines(scorecard)
    parts = [f"# {_plain(title)}", *map(_plain, lines)]
    for heading, rows in _tables(scorecard):
        first, *rest = ([_plain(cell) for cell in row] for row in rows)
        table = [f"| {' | '.join(row)} |" for row in (first, ["---"] * len(first), *rest)]
        parts += [f"## {_plain(heading)}", "\n".join(table)]
    parts += ["## What these numbers are", *map(_plain, notes(scorecard, servers=True))]
    return "\n\n".join(parts) + "\n"


def _tables(scorecard: Mapping[str, Any]) -> Iterator[tuple[str, Rows]]:
    """Titles and rows, headings first."""
    if rows := overview(scorecard):
        yield "All arms", rows
    for arm in treatment_names(scorecard):
        own = [effect for effect in effects(scorecard) if effect.arm == arm]
        yield f"{arm} against {control_name(scorecard)}", [headings(own), *map(table_row, own)]
    if rows := serving(scorecard, intervals=True):
        yield "How the arms served", rows


def _html_table(rows: Rows) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    first, *rest = rows
    body = "".join(line(row, "td") for row in rest)
    return f'<div class="wide"><table><thead>{line(first, "th")}</thead><tbody>{body}</tbody></table></div>'


def _drawing(shown: Sequence[Effect], arm: str) -> str:
    """Each lift with its interval, the truth as a diamond below it; nothing where neither is known."""
    ends = [0.0]
    for effect in shown:
        ends += [e for e in (*effect.ci, effect.lift) if e is not None and effect.enough]
        ends += [] if effect.true_lift is None else [effect.true_lift]
    low, high = min(ends), max(ends)
    if low == high:
        return ""

    def x(value: float) -> float:
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    height = _ROW * len(shown) + 30
    marks = [f'<line x1="{x(0)}" x2="{x(0)}" y1="0" y2="{height - 24}" stroke="var(--line)"/>']
    for number, effect in enumerate(shown):
        marks += _marks(effect, _ROW * number + 16, x)
    for value, anchor in ((low, "start"), (high, "end")):
        at = f'x="{x(value)}" y="{height - 6}" text-anchor="{anchor}"'
        marks.append(f"<text {at}>{escape(numbers.lift(value))}</text>")
    words = "; ".join(f"{numbers.metric_form(e.metric, e.unit).label}: {table_row(e)[3]}" for e in shown)
    label = escape(f"Lifts of {arm}, the truth as a diamond. {words}", quote=True)
    return f'<svg role="img" aria-label="{label}" viewBox="0 0 {_WIDTH} {height}">{"".join(marks)}</svg>'


def _marks(effect: Effect, y: int, x: Any) -> Iterator[str]:
    label = numbers.metric_form(effect.metric, effect.unit).label
    yield f'<text x="0" y="{y + 4}">{escape(label)}</text>'
    if effect.enough and effect.lift is not None and None not in effect.ci:
        low, high = (x(end) for end in effect.ci)
        yield f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}" stroke="var(--estimate)" stroke-width="4"/>'
        yield f'<circle cx="{x(effect.lift)}" cy="{y}" r="6" fill="var(--estimate)"/>'
    if effect.true_lift is not None:
        at, below = x(effect.true_lift), y + 14
        points = f"{at},{below - 7} {at + 7},{below} {at},{below + 7} {at - 7},{below}"
        yield f'<polygon points="{points}" fill="var(--truth)"/>'


def _plain(text: str) -> str:
    """A text in a line or cell of Markdown, as it is."""
    return "".join(f"\\{one}" if one in "\\`*[]<>|" else one for one in " ".join(text.split()))
