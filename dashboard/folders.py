"""Which runs there are, and the one the reader chose: always in the address, never another one instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from dashboard.work.places import read_only, results_folder
from simulator.results import small
from simulator.results.index import Listed, list_results
from simulator.results.read import Folder, Run, Sweep, read_folder

_LOOKED = "looked"  # in the session: the folder that was listed, and its lines


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


def look() -> None:
    """List what there is, once for a page: it is asked for many times while one is drawn.

    While the results folder is empty, what came with the package is listed in its place.
    """
    root = results_folder()
    lines = list_results(root, keep=not read_only())
    if not lines and small.shipped_runs():
        root, lines = small.SHIPPED, list_results(small.SHIPPED, keep=False)
    st.session_state[_LOOKED] = root, lines


def listed() -> list[Listed]:
    """All runs and sweeps there are, newest first, as this page found them."""
    found: list[Listed] = st.session_state[_LOOKED][1]
    return found


def shown_folder() -> Path:
    """Where what is listed lies."""
    root: Path = st.session_state[_LOOKED][0]
    return root


def nothing_run_yet() -> bool:
    """Whether what is shown came with the package."""
    return shown_folder() == small.SHIPPED


def itself() -> str | None:
    """What the results folder is itself: "run" or "sweep"; None for a folder of several."""
    lines = listed()
    return lines[0].kind if [one.path for one in lines] == ["."] else None


def pick(kind: str) -> None:
    """The picker of runs or sweeps, in the sidebar; nothing where there are none.

    The choice goes into the address, the first one made for the reader too: a link keeps its meaning when the
    next run finishes.
    """
    names = _names(kind)
    if not names:
        return
    choice = chosen(kind)
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
    names = _names(kind)
    asked = st.query_params.get(kind) or st.session_state.get(kind) or next(iter(names), None)
    return Choice(kind, asked, asked in names)


def chosen_run() -> Run | None:
    """The run that was asked for; None where it is not there."""
    found = _chosen("run")
    return found if isinstance(found, Run) else None


def chosen_sweep() -> Sweep | None:
    """The sweep that was asked for; None where it is not there."""
    found = _chosen("sweep")
    return found if isinstance(found, Sweep) else None


def label(folder: Folder) -> str:
    """A folder's name in pickers and addresses: its path below the results folder."""
    root = shown_folder()
    return str(folder.path.relative_to(root)) if folder.path != root else folder.path.name


def name_of(line: Listed) -> str:
    """The same of a line in the list."""
    return line.path if line.path != "." else results_folder().name


def opened(name: str) -> Run | Sweep:
    """The folder of a name that is in the list."""
    root = shown_folder()
    return read_folder(root if itself() is not None else root / name)


def _chosen(kind: str) -> Run | Sweep | None:
    choice = chosen(kind)
    return opened(choice.name) if choice.found and choice.name is not None else None


def _take(kind: str) -> None:
    choose(kind, st.session_state[f"{kind}_picker"])


def _names(kind: str) -> list[str]:
    return [name_of(one) for one in listed() if one.kind == kind]
