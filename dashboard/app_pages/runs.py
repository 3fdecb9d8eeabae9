"""The home page: every run and sweep, with what it found; search, tags and notes, deletion with undo."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from textwrap import shorten

import pandas as pd
import streamlit as st

from dashboard import states
from dashboard.folders import choose, listed, name_of, nothing_run_yet
from dashboard.words import plain
from dashboard.work.notes import Note, read_notes, write_note
from dashboard.work.places import read_only, results_folder, shown
from dashboard.work.trash import delete, empty, restore, trashed
from simulator.results import numbers
from simulator.results.index import Listed

VERDICT_LENGTH = 36  # characters that its column has room for


def page() -> None:
    """Draw the page."""
    st.title("Runs")
    lines, notes = listed(), read_notes(results_folder())
    if not lines:
        states.nothing("run")
        _trash()
        return
    if nothing_run_yet():
        states.nothing("run")
        st.markdown("Until then, what came with the package:")
        table(lines, {})
        _open(_choose(lines))
        _trash()
        return
    st.markdown(f"{_counted(lines)} in {plain(shown(results_folder()))}, newest first.")
    left, right = st.columns([2, 1])
    search = left.text_input(
        "Search", key="search", bind="query-params", placeholder="name, arm, verdict, tag, note, seed"
    )
    kept = right.multiselect(
        "Status", list(dict.fromkeys(one.status for one in lines)), key="status", bind="query-params",
        placeholder="All",
    )  # fmt: skip
    found = [
        one
        for one in lines
        if _matches(one, notes.get(one.path, Note()), search or "") and (not kept or one.status in kept)
    ]
    if not found:
        st.info("None matches. Take a word out of the search, or a status out of the filter.")
        return
    table(found, notes)
    chosen = _choose(found)
    _open(chosen)
    if not read_only():
        _describe(chosen, notes.get(chosen.path, Note()))
    _trash()


def _counted(lines: Sequence[Listed]) -> str:
    runs = sum(one.kind == "run" for one in lines)
    sweeps = len(lines) - runs
    return (
        f"{numbers.count(runs)} run{'s' * (runs != 1)} and {numbers.count(sweeps)} sweep{'s' * (sweeps != 1)}"
    )


def _matches(line: Listed, note: Note, search: str) -> bool:
    """Whether every word of the search is in the line or its note."""
    known = (line.path, line.name, line.kind, line.status, line.verdict, line.axes, f"seed {line.seed}")
    text = " ".join(map(str, (*known, *line.arms, *note.tags, note.text))).lower()
    return all(word in text for word in search.lower().split())


def table(lines: Sequence[Listed], notes: dict[str, Note]) -> None:
    """The list; a click on a row chooses it."""
    rows = [_row(line, notes.get(line.path, Note())) for line in lines]
    names = [name_of(line) for line in lines]

    def clicked() -> None:
        found = st.session_state["runs_table"]["selection"]["rows"]
        if found and found[0] < len(names):
            st.session_state["chosen_result"] = names[found[0]]

    st.dataframe(
        pd.DataFrame(rows),
        key="runs_table",
        hide_index=True,
        width="stretch",
        # A sweep's line is long: it must not push the lifts out of sight.
        column_config={"Verdict": st.column_config.TextColumn(width=260, help="In full below the table.")},
        on_select=clicked,
        selection_mode="single-row",
    )


def _in_short(verdict: str) -> str:
    """Its beginning, whole words: a number that the column cuts would read as another one."""
    kept = shorten(re.split("[,;] ", verdict)[0], VERDICT_LENGTH, placeholder="")
    return kept if kept == verdict else f"{kept} …"


def _row(line: Listed, note: Note) -> dict[str, str]:
    lift, truth = numbers.MISSING, numbers.MISSING
    if line.metric is not None:
        label = numbers.metric_form(line.metric).label
        ends = numbers.interval((line.ci_low, line.ci_high), numbers.lift)
        found = f"{numbers.lift(line.lift)} ({ends})" if line.enough else numbers.NOT_ENOUGH
        lift, truth = f"{label}: {found}", numbers.lift(line.true_lift)
    # What one looks for stands first: a telephone shows three columns.
    return {
        "Folder": name_of(line),
        "Verdict": _in_short(line.verdict or numbers.MISSING),
        "Primary lift": lift,
        "True lift": truth,
        "Status": line.status,
        "Kind": f"sweep over {line.axes}" if line.axes else line.kind,
        "Name": line.name,
        "Arms": ", ".join(line.arms),
        "Requests": numbers.count(line.requests),
        "Users": numbers.count(line.users),
        "Seed": numbers.MISSING if line.seed is None else str(line.seed),
        "Made": line.created.replace("T", " ")[:16],
        "Tags": ", ".join(note.tags),
        "Note": note.text,
    }


def _choose(lines: Sequence[Listed]) -> Listed:
    """The chosen line: by a click above, or by the keyboard here."""
    by_name = {name_of(line): line for line in lines}
    if st.session_state.get("chosen_result") not in by_name:
        st.session_state["chosen_result"] = next(iter(by_name))
    name = st.selectbox("Chosen run or sweep", list(by_name), key="chosen_result")
    return by_name[str(name)]


def _open(line: Listed) -> None:
    """What the chosen sweep says in full, and where the chosen result can be looked at."""
    if line.kind == "sweep" and line.verdict is not None:
        st.caption(f"By the truth: {plain(line.verdict)}.")
    pages = {"Open what-if": "what_if"} if line.kind == "sweep" else {
        "Open scorecard": "scorecard",
        "Open latency": "latency",
    }  # fmt: skip
    row = st.container(horizontal=True)
    for words, page in pages.items():
        if row.button(words):
            choose(line.kind, name_of(line))
            st.switch_page(f"app_pages/{page}.py", query_params={line.kind: name_of(line)})
    if not read_only() and row.button("Clone", help="Start another one from its file."):
        st.switch_page("app_pages/start.py", query_params={"clone": name_of(line)})


def _describe(line: Listed, note: Note) -> None:
    """Tags, a note and deletion."""
    with st.expander("Tags, note, delete"):
        with st.form(f"note-{line.path}", border=False):
            tags = st.text_input("Tags", ", ".join(note.tags), help="Separated by commas or spaces.")
            text = st.text_area("Note", note.text, help="Kept beside the results; a result never changes.")
            if st.form_submit_button("Save"):
                _try(lambda: write_note(results_folder(), line.path, tags, text))
        if st.button(
            f"Delete {plain(name_of(line))}", help="It goes into the trash below, and can come back."
        ):
            _try(lambda: delete(results_folder(), line.path))


def _trash() -> None:
    """What was deleted, and the way back."""
    found = trashed(results_folder())
    if not found or read_only():
        return
    with st.expander(f"Trash ({len(found)})", expanded=True):
        for one in found:
            left, right = st.columns([4, 1])
            left.write(f"{plain(one.path)}, deleted {one.when.replace('T', ' ')[:16]} UTC")
            if right.button("Undo", key=f"undo-{one.key}", help=f"Put {plain(one.path)} back"):
                _try(partial(restore, results_folder(), one.key))
        if st.button("Empty the trash", help="This cannot be undone."):
            _try(lambda: empty(results_folder()))


def _try(work: Callable[[], object]) -> None:
    """Do it and draw the page anew; say so where it cannot be done."""
    if states.attempt(work):
        st.rerun()


page()
