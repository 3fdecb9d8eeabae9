"""The head of a page: its title, whose results it shows, and what to do where there are none."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import states
from dashboard.folders import chosen, chosen_run, chosen_sweep, label
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.read import Folder, Run, Sweep


def open_run(title: str) -> Run | None:
    """Draw the head of a page about a run.

    Returns:
        The run; None where there is nothing more to draw, which the page then says.
    """
    st.title(title)
    run = chosen_run()
    return run if _usable("run", run) else None


def open_judged(title: str) -> tuple[Run | None, dict[str, Any] | None]:
    """Draw the head of a page about a run's scorecard.

    Returns:
        The run and its scorecard, with the run's status as it is now; None for what is not there, which the
        page then says.
    """
    run = open_run(title)
    if run is None:
        return None, None
    if run.scorecard is None:
        states.not_yet("Scorecard", run)
        return run, None
    return run, {**run.scorecard, "status": run.status}  # the file was written before the run's end was known


def open_sweep(title: str) -> Sweep | None:
    """The same for a page about a sweep."""
    st.title(title)
    sweep = chosen_sweep()
    return sweep if _usable("sweep", sweep) else None


def line(folder: Folder) -> str:
    """Which results these are, in one line: name, folder, seed, status, machine, code and date."""
    manifest = folder.manifest
    seed, commit = manifest.get("seed"), manifest.get("commit")
    parts = [
        f"**{plain(folder.name)}**",
        "came with the package" if manifest.get("shipped") else f"folder {plain(label(folder))}",
        f"seed {numbers.MISSING if seed is None else seed}",
        folder.status,
        _machine(manifest.get("hardware")),
        f"commit {plain(commit)}" if commit else "",
        folder.created.replace("T", " ").replace("+00:00", " UTC"),
    ]
    return " · ".join(part for part in parts if part)


def _machine(hardware: Any) -> str:
    """The machine that computed it, which may be another than the one whose service times it used."""
    if not isinstance(hardware, dict) or not (hardware.get("gpu") or hardware.get("cpu")):
        return ""
    cores = f", {hardware['cores']} cores" if hardware.get("cores") else ""
    gpu = f" and {plain(hardware['gpu'])}" if hardware.get("gpu") else ""
    return f"computed on {plain(hardware.get('cpu') or 'a machine')}{cores}{gpu}"


def _usable(kind: str, folder: Folder | None) -> bool:
    """Whether there is something to draw; says what, and what is wrong with it."""
    if folder is not None:
        st.markdown(line(folder))
        states.status(folder)
        return folder.status != "damaged"
    name = chosen(kind).name
    if name is None:
        states.nothing(kind)
    else:
        states.absent(kind, name)
    return False
