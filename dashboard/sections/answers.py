"""What a command found about a run, as it is kept beside it; where there is none, the way to ask."""

from __future__ import annotations

from shlex import join
from typing import Any

import streamlit as st

from dashboard import states
from dashboard.folders import label
from dashboard.words import plain
from dashboard.work import jobs
from dashboard.work.places import read_only, results_folder, shown
from simulator.results import numbers
from simulator.results.beside import asked
from simulator.results.read import Run


def answer(run: Run, command: str, takes: str, options: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """The latest answer of a command about a run; None where there is none yet, and the way to it is shown.

    Args:
        run: whose; only a finished one can be asked.
        command: of `asked.COMMANDS`.
        takes: how long it takes, in words, to end a sentence.
        options: of the command that the button starts.
    """
    found = asked.kept(run, command)
    if found is not None:
        return found
    if run.status != "finished":
        st.caption("Only a finished run can be asked for this.")
        return None
    if "small" in run.manifest:
        st.caption(
            "This run was made small, and its single requests are gone: ask a whole run, "
            "such as the one that laser-ab demo makes."
        )
        return None
    st.write(f"Not worked out for this run yet. {takes}")
    st.code(join(["laser-ab", command, shown(run.path), *options]), language=None, wrap_lines=True)
    if not read_only() and run.path != results_folder():
        _start(run, command, options)
    return None


def _start(run: Run, command: str, options: tuple[str, ...]) -> None:
    """A button for the same, and how far the process is."""
    root, name = results_folder(), label(run)
    job = jobs.asked_of(root, name, command)
    at_work = job is not None and jobs.alive(job)
    if not at_work and st.button(
        "Work it out", key=f"ask-{command}", help="The command above, as a process that outlives this page."
    ):
        if states.attempt(lambda: jobs.ask(root, name, command, options)):
            st.rerun()
        return
    if job is not None and at_work:
        _follow(job)
    elif job is not None:
        st.error("The last time it gave no answer:")
        st.code(jobs.log_of(root, job) or "It printed nothing.", language=None)


@st.fragment(run_every="1s")
def _follow(job: jobs.Job) -> None:
    if not jobs.alive(job):
        st.rerun()
    said = jobs.log_of(results_folder(), job).splitlines()
    spent = numbers.duration(jobs.seconds_since(results_folder(), job))
    st.info(f"At work for {spent}. {plain(said[-1])}" if said else f"At work for {spent}.")
