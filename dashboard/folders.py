"""Which runs there are, and the one the reader chose: always in the address, never another one instead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from dashboard.launch import RESULTS_VARIABLE
from simulator.results.read import Folder, Run, Sweep, list_runs, list_sweeps


@dataclass(frozen=True)
class Choice:
    """What the reader asked for, by the address or the picker.

    Attributes:
        kind: "run" or "sweep"; also its name in the address.
        name: relative to the results folder; None where there is nothing to choose from.
        found: whether it is there.
    """

    kind: str
    name: str | None
    found: bool


def results_folder() -> Path:
    """Where runs are looked for: the environment's choice, else ./runs."""
    return Path(os.environ.get(RESULTS_VARIABLE, "runs"))


def is_sweep() -> bool:
    """Whether the results folder is one sweep itself, rather than a folder of several."""
    root = results_folder()
    return any(sweep.path == root for sweep in list_sweeps(root))


def pick(kind: str) -> None:
    """The picker of runs or sweeps, in the sidebar; nothing where there are none.

    The choice goes into the address, the first one made for the reader too: a link keeps its meaning when the
    next run finishes.
    """
    names = list(_folders(kind))
    choice = chosen(kind)
    if not names:
        return
    key = f"{kind}_picker"
    st.session_state[key] = choice.name if choice.found else None
    st.sidebar.selectbox(
        kind.capitalize(), names, key=key, on_change=_take, args=(kind,), help="Newest first.",
        placeholder="Choose one",
    )  # fmt: skip
    choose(kind, choice.name)


def choose(kind: str, name: str | None) -> None:
    """Keep a choice for the other pages, and in the address."""
    if name is not None:
        st.session_state[kind] = name
        if st.query_params.get(kind) != name:
            st.query_params[kind] = name


def chosen(kind: str) -> Choice:
    """What was asked for, the newest where nothing was."""
    names = list(_folders(kind))
    asked = st.query_params.get(kind) or st.session_state.get(kind) or next(iter(names), None)
    return Choice(kind, asked, asked in names)


def chosen_run() -> Run | None:
    """The run that was asked for; None where it is not there."""
    found = _folders("run").get(chosen("run").name or "")
    return found if isinstance(found, Run) else None


def chosen_sweep() -> Sweep | None:
    """The sweep that was asked for; None where it is not there."""
    found = _folders("sweep").get(chosen("sweep").name or "")
    return found if isinstance(found, Sweep) else None


def label(folder: Folder) -> str:
    """A folder's name in pickers and addresses: its path below the results folder."""
    root = results_folder()
    return str(folder.path.relative_to(root)) if folder.path != root else folder.path.name


def _take(kind: str) -> None:
    choose(kind, st.session_state[f"{kind}_picker"])


def _folders(kind: str) -> dict[str, Folder]:
    found: Sequence[Folder] = (list_sweeps if kind == "sweep" else list_runs)(results_folder())
    return {label(folder): folder for folder in found}
