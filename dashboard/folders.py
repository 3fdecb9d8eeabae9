"""Which runs there are, and the one the reader chose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import streamlit as st

from dashboard.launch import RESULTS_VARIABLE
from simulator.results.read import Folder, Run, Sweep, list_runs, list_sweeps

F = TypeVar("F", bound=Folder)


def results_folder() -> Path:
    """Where runs are looked for: the environment's choice, else ./runs."""
    return Path(os.environ.get(RESULTS_VARIABLE, "runs"))


def is_sweep() -> bool:
    """Whether the results folder is one sweep itself, rather than a folder of several."""
    root = results_folder()
    return any(sweep.path == root for sweep in list_sweeps(root))


def pick_run() -> None:
    """The run picker, in the sidebar; nothing where there are no runs."""
    _pick("Run", "run", list_runs(results_folder()))


def pick_sweep() -> None:
    """The sweep picker, in the sidebar; nothing where there are none."""
    _pick("Sweep", "sweep", list_sweeps(results_folder()))


def chosen_run() -> Run | None:
    """The run chosen in the picker, the newest at first; None where there are none."""
    return _chosen("run", list_runs(results_folder()))


def chosen_sweep() -> Sweep | None:
    """The sweep chosen in the picker, the newest at first; None where there are none."""
    return _chosen("sweep", list_sweeps(results_folder()))


def _pick(label: str, key: str, folders: list[F]) -> None:
    if folders:
        names = [_label(folder) for folder in folders]
        st.sidebar.selectbox(label, names, key=key, bind="query-params", help="Newest first.")
        folder = _chosen(key, folders)
        if folder is not None:
            st.sidebar.caption(f"{folder.name} · {folder.status}")


def _chosen(key: str, folders: list[F]) -> F | None:
    by_label = {_label(folder): folder for folder in folders}
    return by_label.get(str(st.session_state.get(key)), folders[0] if folders else None)


def _label(folder: Folder) -> str:
    root = results_folder()
    return str(folder.path.relative_to(root)) if folder.path != root else folder.path.name
