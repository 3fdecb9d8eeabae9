"""What the reader sees when there is less than a finished result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from shlex import quote
from typing import Any

import streamlit as st

from dashboard.words import plain
from dashboard.work import jobs
from dashboard.work.places import DashboardError, read_only, results_folder, shown
from simulator.results import numbers
from simulator.results.errors import ResultsError
from simulator.results.read import Folder, read_folder


def nothing(kind: str) -> None:
    """The command that makes the first run, or the first sweep."""
    if kind == "sweep":
        _no_sweeps()
    else:
        _no_runs()


def absent(kind: str, name: str) -> None:
    """A link to a run or sweep that is not there."""
    root = results_folder()
    st.error(f"There is no {kind} “{plain(name)}” in {plain(root)}: renamed, deleted, or of another folder.")
    st.write(f"Choose another {kind} in the sidebar, or open the folder that it is in: laser-ab dash DIR.")


def _no_runs() -> None:
    root = results_folder()
    st.info(f"There are no runs in `{shown(root)}` yet. Make one, then reload this page:")
    st.code(f"laser-ab demo --out {quote(shown(root / 'demo'))}", language=None)
    st.write("Or run an experiment of your own:")
    st.code(f"laser-ab run CONFIG.toml --out {quote(shown(root / 'my-run'))}", language=None)


def _no_sweeps() -> None:
    root = results_folder()
    st.info(f"There are no sweeps in `{shown(root)}` yet. Make one, then reload this page:")
    st.code(
        "laser-ab sweep CONFIG.toml --over arms.treatment.history=200,500,1000 "
        f"--over traffic.load=0.3,0.6 --out {quote(shown(root / 'my-sweep'))}",
        language=None,
        wrap_lines=True,
    )
    st.write(
        "Every --over is an axis, and gets a slider here; without one, the latency budget varies. "
        "CONFIG.toml is an experiment file, such as a run's own experiment.toml. *Start* does the same from "
        "a form, and *Simulate* answers for budget, traffic and servers at once."
    )


def problem(error: ResultsError) -> None:
    """A file that cannot be used: which, why, what to do."""
    st.error(f"File {plain(error.file)}: {plain(error.reason)}")
    st.write(plain(error.do))


def status(folder: Folder) -> None:
    """A banner for every status but "finished"; a running one follows its progress."""
    if folder.status == "running":
        _progress(folder)
    elif folder.status == "interrupted":
        st.warning(f"This {_kind(folder)} was interrupted{_where(folder)}.")
        _resume(folder)
    elif folder.status == "failed":
        st.error(f"This {_kind(folder)} failed{_where(folder)}: {plain(folder.manifest.get('error'))}")
        _resume(folder)
    elif folder.status == "damaged" and folder.problem is not None:
        st.error(f"This {_kind(folder)} is damaged.")
        problem(folder.problem)


def not_yet(what: str, folder: Folder) -> None:
    """A part that this folder has not got."""
    if "small" in folder.manifest:
        st.caption(f"{what}: none, for this {_kind(folder)} was made small, and keeps totals by day.")
        return
    yet = "none" if folder.status == "finished" else "nothing yet"
    st.caption(f"{what}: {yet} in this {folder.status} {_kind(folder)}.")


def attempt(work: Callable[[], object]) -> bool:
    """Do something that may not be possible, and say why where it is not; returns whether it was done."""
    try:
        work()
    except (DashboardError, ResultsError, OSError) as error:
        st.error(plain(error))
        return False
    return True


def stages(folder: Folder) -> None:
    """A bar for every stage begun, with how long the last will take at its pace."""
    for stage in folder.stages:
        done, total = stage.get("done") or 0, stage.get("total") or 0
        part = min(1.0, done / total) if total else 0.0
        label = f"{plain(stage.get('name'))}: {numbers.count(done)} of {numbers.count(total)}"
        st.progress(part, text=label + _remaining(stage, part))
    if not folder.stages:
        st.caption("Starting…")


def stopping(path: str | None) -> None:
    """How work is stopped, and what that costs.

    Args:
        path: of its folder below the results folder; None where it was not started from here.
    """
    stop = path is not None and st.button("Stop", key=f"stop-{path}", help="Pressed again, it ends at once.")
    if stop and attempt(partial(jobs.stop, results_folder(), str(path))):
        st.toast("It stops at its next checkpoint.")
    how = "Ctrl-C where it was started" if path is None else "Stop"
    st.caption(
        f"{how} ends it at its next checkpoint. What was computed until then is kept, and it can go on from "
        "there: its page then has a button *Resume*, and the command."
    )


def _remaining(stage: Mapping[str, Any], part: float) -> str:
    """ ", about 3 min left": by what the stage took so far; nothing at its beginning and its end."""
    spent_s = stage.get("seconds")
    if not isinstance(spent_s, int | float) or spent_s < 1 or not 0 < part < 1:
        return ""
    left_s = spent_s * (1 - part) / part
    return f", about {numbers.duration(left_s)} left"


def _progress(folder: Folder) -> None:
    st.info(f"This {_kind(folder)} is under way; what is there already is shown below.")

    @st.fragment(run_every="2s")
    def follow() -> None:
        now = read_folder(folder.path)
        stages(now)
        stopping(_name(folder) if _is_ours(folder) else None)
        if now.status != "running":
            st.rerun()

    follow()


def _resume(folder: Folder) -> None:
    if folder.resumable:
        mended = "" if folder.status == "interrupted" else ", when what stopped it is gone"
        st.write(f"To continue it{mended}:")
    else:
        st.write("It would stop there again. With the cause mended, to start anew:")
    st.code(folder.next_command.replace(str(folder.path), shown(folder.path)), language=None)
    resuming(folder)


def resuming(folder: Folder) -> None:
    """A button that continues what was stopped; nothing where that cannot be done from here."""
    possible = folder.resumable and not read_only() and folder.path != results_folder()
    asked = possible and st.button(
        "Resume",
        key=f"resume-{folder.path}",
        help="It goes on where it stopped, as a process that outlives this page.",
    )
    if asked and attempt(lambda: jobs.resume(results_folder(), _name(folder))):
        st.info("It is taken up again; the page follows in a moment.")
        _wait_until_running(folder)
        st.rerun()


def _wait_until_running(folder: Folder) -> None:
    """Until the process holds the folder's lock, or has had its time: Python starts in a second or two."""
    for _ in range(100):
        job = jobs.job_of(results_folder(), _name(folder))
        if job is None or not jobs.alive(job) or read_folder(folder.path).status == "running":
            return
        time.sleep(0.1)


def _is_ours(folder: Folder) -> bool:
    """Whether the process at work was started from here, so that it can be stopped from here."""
    if read_only() or folder.path == results_folder():
        return False
    job = jobs.job_of(results_folder(), _name(folder))
    return job is not None and jobs.alive(job)


def _name(folder: Folder) -> str:
    return str(folder.path.relative_to(results_folder()))


def _where(folder: Folder) -> str:
    if not folder.stages:
        return " before its first stage"
    stage: dict[str, Any] = folder.stages[-1]
    return f" at stage “{stage.get('name')}” ({stage.get('done'):,} of {stage.get('total'):,})"


def _kind(folder: Folder) -> str:
    return str(folder.manifest.get("kind") or "run")
