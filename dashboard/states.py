"""What the reader sees when there is less than a finished result."""

from __future__ import annotations

from shlex import quote
from typing import Any

import streamlit as st

from dashboard.folders import results_folder
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.errors import ResultsError
from simulator.results.read import Folder, read_run, read_sweep


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
    st.info(f"There are no runs in `{root}` yet. Make one, then reload this page:")
    st.code(f"laser-ab demo --out {quote(str(root / 'demo'))}", language="bash")
    st.write("Or run an experiment of your own:")
    st.code(f"laser-ab run CONFIG.toml --out {quote(str(root / 'my-run'))}", language="bash")


def _no_sweeps() -> None:
    root = results_folder()
    st.info(f"There are no sweeps in `{root}` yet. Make one, then reload this page:")
    st.code(f"laser-ab sweep CONFIG.toml --out {quote(str(root / 'my-sweep'))}", language="bash")


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
    st.caption(f"{what}: nothing yet in this {folder.status} {_kind(folder)}.")


def _progress(folder: Folder) -> None:
    st.info(f"This {_kind(folder)} is under way; what is there already is shown below.")

    @st.fragment(run_every="2s")
    def follow() -> None:
        now = (read_sweep if _kind(folder) == "sweep" else read_run)(folder.path)
        for stage in now.stages:
            done, total = stage.get("done") or 0, stage.get("total") or 0
            part = min(1.0, done / total) if total else 0.0
            label = f"{plain(stage.get('name'))}: {numbers.count(done)} of {numbers.count(total)}"
            st.progress(part, text=label)
        if not now.stages:
            st.caption("Starting…")
        if now.status != "running":
            st.rerun()

    follow()


def _resume(folder: Folder) -> None:
    st.write(
        "To continue it, when what stopped it is gone:"
        if folder.resumable
        else "It would stop there again. With the cause mended, to start anew:"
    )
    st.code(folder.next_command, language="bash")


def _where(folder: Folder) -> str:
    if not folder.stages:
        return " before its first stage"
    stage: dict[str, Any] = folder.stages[-1]
    return f" at stage “{stage.get('name')}” ({stage.get('done'):,} of {stage.get('total'):,})"


def _kind(folder: Folder) -> str:
    return str(folder.manifest.get("kind") or "run")
