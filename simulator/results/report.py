"""A scorecard as a terminal table, plain text, JSON or CSV; two runs side by side is `compare.py`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table

from simulator.errors import SimulatorError
from simulator.results import numbers
from simulator.results.bottleneck import sentences, serving_of
from simulator.results.certificate import certificate
from simulator.results.compare import RunComparison, compare
from simulator.results.files import json_text
from simulator.results.money import money_sentences
from simulator.results.overview import overview, serving
from simulator.results.scorecard import (
    OUTSIDE,
    SOUND,
    Effect,
    arm_users,
    arms_of,
    checked_for_faults,
    control_name,
    effects,
    faults,
    heavy_tails,
    of_log,
    of_table,
    split_is_off,
    treatment_names,
    verdict_of,
)

__all__ = ["FORMATS", "RunComparison", "compare", "csv_rows", "render", "rich_tables", "terminal"]

Format = Literal["table", "text", "json", "csv"]
FORMATS: tuple[Format, ...] = ("table", "text", "json", "csv")


def render(
    scorecard: Mapping[str, Any], form: str = "table", *, width: int | None = None, verbose: bool = False
) -> str:
    """Render a scorecard.

    Args:
        scorecard: as in scorecard.json.
        form: "table" (for a terminal), "text" (no colour, no lines), "json" (the scorecard itself) or
            "csv" (numbers as they are, one row per metric and treatment, empty where unknown).
        width: characters per line of "table"; the terminal's by default.
        verbose: whether to say in full how busy each arm's servers were.

    Raises:
        ValueError: unknown form.
    """
    if form == "json":
        return json_text(scorecard)
    if form == "csv":
        return _csv(csv_rows(scorecard))
    if form == "text":
        return (
            "\n".join(
                [*headlines(scorecard), "", *_text_rows(scorecard), "", *notes(scorecard, servers=verbose)]
            )
            + "\n"
        )
    if form == "table":
        console = terminal(width=width, file=io.StringIO())
        with console.capture() as capture:
            for line in headlines(scorecard):
                console.print(line)
            if rows := overview(scorecard):
                console.print()
                console.print(_side_by_side(rows))
            for title, table in rich_tables(scorecard):
                if title:
                    console.print(f"\n{title}")
                console.print(table)
            if rows := serving(scorecard):
                console.print("\nHow the arms served")
                console.print(_side_by_side(rows))
            for line in notes(scorecard, servers=verbose):
                console.print(line)
        return capture.get()
    raise SimulatorError(
        f"Found report format {form!r}, expected one of {', '.join(FORMATS)}; choose one of them."
    )


def terminal(**where: Any) -> Console:
    """A console that takes nothing for markup: names of arms and columns may have brackets and colons.

    Args:
        where: file, width and the like, see `rich.console.Console`.
    """
    return Console(markup=False, emoji=False, highlight=False, **where)


def headlines(scorecard: Mapping[str, Any]) -> list[str]:
    """The run in one line, its verdict, and a warning where the split is off."""
    run, status = scorecard.get("run") or "run", scorecard.get("status") or "unknown status"
    seed = scorecard.get("seed")
    lines = [
        f"{run} · {status}"
        + ("" if of_table(scorecard) else f" · seed {numbers.MISSING if seed is None else seed}")
    ]
    lines += _verdicts(scorecard)
    lines += rules(scorecard)
    p = numbers.p_phrase((scorecard.get("srm") or {}).get("p_value"))
    users = ", ".join(f"{arm.name} {numbers.count(arm.users)}" for arm in arm_users(scorecard))
    if split_is_off(scorecard):
        lines.append(f"WARNING: sample ratio mismatch ({p}): {users} users. Do not trust the lifts.")
    elif users:
        lines.append(f"Users: {users} (sample ratio test {p})")
    return lines + [f"WARNING: {fault}" for fault in faults(scorecard)]


def _verdicts(scorecard: Mapping[str, Any]) -> list[str]:
    """The verdict; of several treatments those that are decided, the overview says that the rest are not."""
    if overview(scorecard):
        found = {arm: verdict_of(scorecard, arm) for arm in treatment_names(scorecard)}
        decided = {arm: own for arm, own in found.items() if own["decision"] != "inconclusive"}
        return [f"Verdict on {arm}: {own['text']}" for arm, own in decided.items()]
    return [f"Verdict: {scorecard['verdict']['text']}"] if arms_of(scorecard) else []


def notes(scorecard: Mapping[str, Any], *, servers: bool = True) -> list[str]:
    """What the numbers rest on: service times, budget, intervals, and the scorecard's own notes.

    Args:
        servers: whether to say in full how busy each arm's servers were.
    """
    lines, shown = [], effects(scorecard)
    if not of_table(scorecard):
        budget = numbers.ms(scorecard.get("budget_ms"))
        lines.append(f"{service_times(scorecard)} Latency budget: {budget}.")
    methods = sorted({effect.method for effect in shown if effect.method})
    if methods:
        world = "model fitted on the log" if of_log(scorecard) else "simulated world"
        truth = "" if of_table(scorecard) else f" True lifts come from the {world}."
        lines.append(f"Intervals: {'; '.join(methods)}.{truth}")
        lines += certificate(methods)
    if any(effect.adjusted for effect in shown):
        lines.append(
            "Adjusted: CUPED takes out of ratios how users differed before the experiment, so control's "
            "value depends on the treatment beside it. The JSON form has each arm's own, under its `values`."
        )
    if shown:
        parts = [words(shown), "MDE: the smallest lift that a test of this size would find"]
        parts += [] if of_table(scorecard) else ["¤: the currency"]
        lines.append(". ".join(filter(None, parts)) + ".")
    lines += heavy_tails(scorecard)
    if checked_for_faults(scorecard) and not faults(scorecard):
        lines.append(SOUND)
    if any(effect.unit == "ms" for effect in shown):
        lines.append(
            "The interval of a latency speaks of other users who meet the same queue: the luck of bursts is "
            "not in it; replications with other seeds show that."
        )
    outside = {name: arm.get("outside_profile") for name, arm in arms_of(scorecard).items()}
    outside = {name: n for name, n in outside.items() if n}
    if outside:
        counts = ", ".join(f"{arm} {numbers.count(n)}" for arm, n in outside.items())
        lines.append(
            f"Service times asked for outside what was measured, answered by its edge: {counts}. {OUTSIDE}"
        )
    lines += money_sentences(scorecard)
    if servers:
        lines += [f"Servers of {sentences(arm, load)}" for arm, load in serving_of(scorecard).items()]
    missing = {effect.reason: None for effect in shown if effect.reason}
    lines += [f"No estimate or interval: {reason}" for reason in missing]
    return lines + [str(note) for note in scorecard.get("notes") or ()]


def rules(scorecard: Mapping[str, Any]) -> list[str]:
    """The verdict's rules and whether each held, a line for each treatment."""
    names = treatment_names(scorecard)
    found = {arm: "; ".join(rules_of(scorecard, arm)) for arm in names}
    titles = {arm: f"Rules for {arm}" if len(names) > 1 else "Rules" for arm in names}
    return [f"{titles[arm]}: {text}" for arm, text in found.items() if text]


def rules_of(scorecard: Mapping[str, Any], arm: str) -> list[str]:
    """The rules of one treatment's verdict, each after a sign: held, broken, or neither shown."""
    marks = {True: "✓", False: "✗", None: "?"}
    return [
        f"{marks[rule['holds']]} {rule['rule']}" for rule in verdict_of(scorecard, arm).get("rules") or ()
    ]


def words(shown: Sequence[Effect]) -> str:
    """The abbreviations among the metrics' labels, spelt out."""
    forms = [numbers.metric_form(name) for name in dict.fromkeys(effect.metric for effect in shown)]
    abbreviated = [form for form in forms if re.search(r"[A-Z]{2}|P\d", form.label) and form.meaning]
    return "; ".join(f"{form.label}: {form.meaning}" for form in abbreviated)


def service_times(found: Mapping[str, Any]) -> str:
    """Whose service times a scorecard or manifest rests on."""
    source = {
        "profile": f"a measured profile ({found.get('profile_machine') or 'machine not named'})",
        "live": "live calls on the machine that ran it",
    }.get(str(found.get("service_times")), "an unknown source")
    return f"Service times: {source}."


def rich_tables(scorecard: Mapping[str, Any]) -> list[tuple[str, Table]]:
    """The metrics as rich tables, one per treatment with its title; a single one needs none, and has ""."""
    return [(title, _rich_table(shown, _columns(scorecard, shown))) for title, shown in _by_arm(scorecard)]


def _columns(scorecard: Mapping[str, Any], shown: Sequence[Effect]) -> tuple[str, str]:
    """What the arms' columns are called: a table of one's own knows its arms by their names."""
    if not of_table(scorecard) or not shown:
        return "control", "treatment"
    return control_name(scorecard), shown[0].arm


def _by_arm(scorecard: Mapping[str, Any]) -> list[tuple[str, list[Effect]]]:
    shown = effects(scorecard)
    arms = list(dict.fromkeys(effect.arm for effect in shown))
    if len(arms) < 2:
        return [("", shown)]
    control = control_name(scorecard)
    return [(f"{arm} against {control}", [effect for effect in shown if effect.arm == arm]) for arm in arms]


def _rich_table(shown: list[Effect], arms: tuple[str, str]) -> Table:
    """One treatment's metrics; a lift's interval stands below it, so that 80 columns suffice."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in headings(shown, arms):
        left = heading == "metric"
        table.add_column(
            heading.replace(", ", ",\n"), justify="left" if left else "right", no_wrap=heading == "lift"
        )
    for effect in shown:
        metric, control, treatment, lift, *rest = table_row(effect)
        if effect.enough:
            ends = numbers.interval(effect.ci, numbers.lift)
            lift = f"{numbers.lift(effect.lift)}\n{ends}"
        cells = (metric.replace(" per ", "\nper ").replace(" (", "\n("), control, treatment, lift, *rest)
        style = "bold" if effect.role == "primary" else "" if effect.enough else "dim"
        table.add_row(*cells, style=style)
    levels = {numbers.level_name(effect.level) for effect in shown}
    table.columns[-3].header = "true\nlift"
    table.columns[-4].header = f"lift\n({', '.join(sorted(levels))})" if levels else "lift"
    return table


def _side_by_side(rows: list[tuple[str, ...]]) -> Table:
    """The arms side by side; a long name goes on below itself, numbers stay whole."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in rows[0]:
        left = heading in ("arm", "verdict")
        table.add_column(
            "\n".join(re.split(r", | (?=per |latency|deadline|history|lift)", heading)),
            justify="left" if left else "right",
            no_wrap=not left,
            overflow="fold",
        )
    for row in rows[1:]:
        table.add_row(*row)
    return table


def headings(shown: Sequence[Effect], arms: tuple[str, str] = ("control", "treatment")) -> tuple[str, ...]:
    """Of the columns of `table_row`; they say whether the values of the two arms are adjusted."""
    adjusted = ", adjusted" if any(effect.adjusted for effect in shown) else ""
    return ("metric", f"{arms[0]}{adjusted}", f"{arms[1]}{adjusted}", "lift", "true lift", "MDE", "n")


def table_row(effect: Effect) -> tuple[str, ...]:
    """One effect as printed: metric, control, treatment, lift with interval, truth, MDE, n."""
    form = numbers.metric_form(effect.metric, effect.unit)
    estimate = numbers.lift_with_interval(effect.lift, effect.ci, effect.level)
    return (
        form.label + (" (primary)" if effect.role == "primary" else ""),
        form.form(effect.control),
        form.form(effect.treatment),
        estimate if effect.enough else numbers.NOT_ENOUGH,
        numbers.lift(effect.true_lift),
        numbers.percent(effect.mde if effect.enough else None),
        numbers.count(effect.n),
    )


def csv_rows(scorecard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Flat records, one per metric and treatment, in a fixed order; None where unknown."""
    return [asdict(effect) for effect in effects(scorecard)]


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    names = list(Effect.__dataclass_fields__)
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _text_rows(scorecard: Mapping[str, Any]) -> list[str]:
    lines = _text_table(overview(scorecard))
    for title, shown in _by_arm(scorecard):
        rows = [headings(shown, _columns(scorecard, shown)), *(table_row(effect) for effect in shown)]
        lines += [*([""] if lines else []), *([title] if title else []), *_text_table(rows)]
    served = serving(scorecard)
    return [*lines, "", "How the arms served", *_text_table(served)] if served else lines


def _text_table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
