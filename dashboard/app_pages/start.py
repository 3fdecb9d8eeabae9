"""An experiment from the browser: a form of its settings, a check by the command line, and a start.

The page types for its reader: beside the form stands the command that does the same in a terminal.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import streamlit as st

from dashboard import states
from dashboard.folders import itself, listed, name_of, opened
from dashboard.words import plain
from dashboard.work import jobs, places
from dashboard.work.commands import Answer, as_typed, laser_ab
from dashboard.work.places import DashboardError, read_only, results_folder, within
from dashboard.work.schema import Field, lookup, tables
from simulator.results import numbers
from simulator.results.errors import ResultsError
from simulator.results.read import CONFIG

TEMPLATE = "A commented template"
BUDGET = "experiment.budget_ms"


def page() -> None:
    """Draw the page."""
    st.title("Start an experiment")
    if read_only() or itself() is not None:
        st.info(
            "Nothing can be started here: "
            + (
                "this dashboard is read-only."
                if read_only()
                else "it shows one result, not a folder of them."
            )
        )
        return
    text = _file()
    file = _parsed(text)
    if file is None:
        return
    left, right = st.columns([3, 2])
    with left:
        sets = _form(file, hashlib.sha256(text.encode()).hexdigest()[:12])
    with right:
        _act(text, file, sets)
    _started()


def _file() -> str:
    """The file to begin with, which can be changed as text."""
    names = [name_of(one) for one in listed()]
    source = st.selectbox(
        "Begin with",
        [TEMPLATE, *names],
        key="clone",
        bind="query-params",
        help="Clone a run, or the template.",
    )
    text = _template() if source == TEMPLATE else _text_of(str(source))
    with st.expander("The file as text: what the form has no field for is written here"):
        shown = st.text_area("Experiment file (TOML)", text, height=420, key=f"file-{source}")
    return str(shown)


def _text_of(name: str) -> str:
    try:
        return (opened(name).path / CONFIG).read_text(encoding="utf-8")
    except OSError:
        st.warning(f"{plain(name)} has no file to begin with. This is the template.")
        return _template()


@st.cache_data(show_spinner=False)
def _template() -> str:
    return laser_ab("config", "init").out


@st.cache_data(show_spinner="Reading the schema…")
def _schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(laser_ab("config", "schema").out)
    return found


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        st.error(f"The file is not TOML: {plain(error)}")
        return None


def _form(file: Mapping[str, Any], digest: str) -> list[str]:
    """A field for every setting; returns those that differ from the file, as KEY=VALUE.

    Args:
        file: the experiment file.
        digest: of its text: another file begins with fields of its own.
    """
    arms = file.get("arms")
    names = tuple(arms) if isinstance(arms, dict) else ()
    sets = []
    for table, fields in tables(_schema(), names).items():
        with st.expander(table or "seed", expanded=table.startswith("arms.")):
            # Row by row: on a telephone, where columns stand below each other, neighbours stay together.
            for first in range(0, len(fields), 3):
                for column, field in zip(st.columns(3), fields[first : first + 3], strict=False):
                    with column:
                        was = lookup(file, field.key)
                        now = _widget(field, was, f"{digest}-{field.key}")
                        if now not in ("", was):
                            sets.append(f"{field.key}={now}")
    more = st.text_area(
        "Further settings, KEY=VALUE, one a line",
        "\n".join(st.query_params.get_all("set")),
        key=f"{digest}-more",
        placeholder="traffic.world.users=400",
    )
    return sets + [line.strip() for line in more.splitlines() if line.strip()]


def _widget(field: Field, was: str, key: str) -> str:
    """A field's control; returns what is typed, empty where it is left to the default."""
    if field.kind == "choice":
        value = was or field.default
        options = list(field.choices if value in field.choices else (value, *field.choices))
        chosen = str(st.selectbox(field.name, options, index=options.index(value), key=key, help=field.help))
        return "" if chosen == field.default and not was else chosen
    if field.kind == "flag":
        flag = st.checkbox(field.name, (was or field.default) == "true", key=key, help=field.help)
        return "" if str(flag).lower() == (was or field.default) else str(flag).lower()
    typed = st.text_input(field.name, was, key=key, placeholder=field.default, help=field.help)
    return typed.strip()


def _act(text: str, file: Mapping[str, Any], sets: list[str]) -> None:
    """The command, its check and its start."""
    kind = str(st.segmented_control("What", ["run", "sweep"], default="run", required=True, key="what"))
    over = []
    if kind == "sweep":
        typed = st.text_area(
            "Over, KEY=A,B,C, one a line", "experiment.budget_ms=5,10,20", help="Several axes make a grid."
        )
        over = [line.strip() for line in typed.splitlines() if line.strip()]
    name = st.text_input(
        "Folder", _free(lookup(file, "experiment.name") or "experiment"), key="folder"
    ).strip()
    arguments = [kind, "FILE.toml", *(part for one in sets for part in ("--set", one))]
    arguments += [part for one in over for part in ("--over", one)]
    st.code(
        as_typed([*arguments, "--out", places.shown(results_folder() / name)]),
        language=None,
        wrap_lines=True,
    )
    if _budget(file, sets, over) == "auto":
        st.caption(
            "The latency budget follows the arms: auto is twice the slowest arm's P95 without load. With "
            "another history or model it is another budget; to keep it, give experiment.budget_ms a number."
        )
    if st.button("Check and estimate", width="stretch"):
        _check(kind, text, sets, over)
    if st.button("Start", width="stretch"):
        _start(kind, text, sets, over, name)


def _budget(file: Mapping[str, Any], sets: list[str], over: list[str]) -> str:
    """The latency budget that is asked for, as one types it."""
    asked = {key: value for key, _, value in (one.partition("=") for one in (*sets, *over))}
    return asked.get(BUDGET) or lookup(file, BUDGET) or "auto"


def _free(name: str) -> str:
    """A name that no folder has yet: the experiment's, or that with a number."""
    number, free = 1, name
    while (results_folder() / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free


def _check(kind: str, text: str, sets: list[str], over: list[str]) -> bool:
    """What the command line says of the settings, and what they would take; returns whether they are fine."""
    try:
        draft = jobs.draft(results_folder(), text)
    except (DashboardError, ResultsError, OSError) as error:
        st.error(plain(error))
        return False
    options = [part for one in sets for part in ("--set", one)]
    planned = [kind, str(draft), *options, *(part for one in over for part in ("--over", one)), "--dry-run"]
    with st.spinner("Checking and estimating…"), ThreadPoolExecutor(3) as pool:
        asked = (["config", "check", str(draft), *options, "--json"], [*planned, "--json"], planned)
        checked, ahead, resolved = pool.map(lambda arguments: laser_ab(*arguments), asked)
    if not _problems(checked):
        return False
    if ahead.code or resolved.code:
        st.error(plain(ahead.err or resolved.err))
        return False
    _estimate(json.loads(ahead.out)["size"])
    with st.expander("The resolved file"):
        st.code(resolved.out, language=None)
    return True


def _problems(checked: Answer) -> bool:
    """Errors and warnings as the command line words them; returns whether there is no error."""
    try:
        found = json.loads(checked.out)
    except ValueError:
        st.error(plain(checked.err or "The check gave no answer."))
        return False
    for problem in found["problems"]:
        where = f" (line {problem['line']})" if problem["line"] else f" ({problem['source']})"
        help_text = f" {problem['help']}" if problem["help"] else ""
        show = st.warning if problem["severity"] == "warning" else st.error
        show(plain(f"{problem['message']}{where}.{help_text}"))
    if found["valid"]:
        st.success("The settings can be used.")
    return bool(found["valid"])


def _estimate(size: Mapping[str, Any]) -> None:
    """What it would take and could tell."""
    ahead = size["forecast"]
    minutes, lift = ahead["scoring_minutes"], ahead["detectable_lift"]
    wanted = ahead["requests_to_find"]
    scoring = "live" if minutes is None else f"about {minutes:,.1f} minutes of one process, less if kept"
    lines = [
        f"**{numbers.count(size['requests'])}** requests of {numbers.count(size['users'])} users"
        + (f", in each of {size['cells']} cells" if size["cells"] > 1 else ""),
        f"**scoring** {scoring}; {len(size['models_to_train'])} models to train, unless they are kept",
        f"**memory** about {ahead['memory_gib']:.1f} GiB",
        f"**can tell** a lift of about {numbers.percent(lift, digits=0)} in ADVV; for 2% about "
        f"{numbers.about(wanted)} requests, the pre-period not counted"
        f"{numbers.beyond(wanted, size['requests'])}",
    ]
    st.markdown("  \n".join(lines))


def _start(kind: str, text: str, sets: list[str], over: list[str], name: str) -> None:
    try:
        within(results_folder(), name)
        if _check(kind, text, sets, over):
            jobs.start(results_folder(), kind, text, sets, over, name)
            st.toast(f"{plain(name)} is under way. It goes on when this page or the dashboard is closed.")
    except (DashboardError, ResultsError, OSError) as error:
        st.error(plain(error))


def _started() -> None:
    """What was started from here, the latest first."""
    root = results_folder()
    latest = {job.path: job.key for job in reversed(jobs.experiments(root))}
    if latest:
        st.subheader("Started from here")
        _follow(list(latest.values())[-5:])


@st.fragment(run_every="2s")
def _follow(keys: list[str]) -> None:
    root = results_folder()
    for job in (job for job in jobs.jobs(root) if job.key in keys):
        at_work = jobs.alive(job)
        there = (root / job.path / "manifest.json").is_file()
        folder = opened(job.path) if there else None
        status = "at work" if at_work else "ended" if folder is None else folder.status
        st.markdown(f"**{plain(job.path)}** · {status}")
        if folder is not None:
            states.stages(folder)
            if not at_work:
                states.resuming(folder)
            target = "what_if" if folder.manifest.get("kind") == "sweep" else "scorecard"
            st.page_link(
                f"app_pages/{target}.py",
                label=f"Open {plain(job.path)}",
                query_params={"sweep" if target == "what_if" else "run": job.path},
            )
        elif not at_work:
            st.code(jobs.log_of(root, job) or "It printed nothing.", language=None)
        if at_work:
            states.stopping(job.path)


page()
