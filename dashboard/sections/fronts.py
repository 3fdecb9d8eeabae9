"""Of a sweep: the settings that no other beats in lift, P99 and cost, and the cheapest that holds all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.draw import chart
from dashboard.sections import apart_charts
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.answers.cost import asked_of, cheapest, options, pareto
from simulator.results.answers.grid import points_of
from simulator.results.answers.terms import terms_of
from simulator.results.axes import BUDGET
from simulator.results.read import Sweep, read_sweep

# Axis of the chart -> field, unit.
ACROSS = {"P99 latency": ("p99_ms", "ms"), "Servers": ("cost", "servers, or their price an hour")}


def section(sweep: Sweep, chosen: Mapping[str, Any]) -> None:
    """Every arm at every setting that serves what is chosen: lift against P99 or cost.

    Args:
        sweep: whose.
        chosen: the values of its axes. What is for the arms to choose is left open, and the latency budget.
    """
    st.subheader("Which setting to take")
    stamp = (sweep.path / "sweep.parquet").stat().st_mtime_ns
    rows, reason = _rows(str(sweep.path), stamp, tuple(asked_of(chosen).items()))
    if not rows:
        st.caption("No arm's lift, P99 and servers are all known at these settings.")
        return
    across = str(
        st.segmented_control(
            "Against cost", list(ACROSS), default="P99 latency", required=True, key="front_axis",
            bind="query-params",
        )
    )  # fmt: skip
    field, unit = ACROSS[across]
    free = [axis for axis in sweep.axes if axis.key == BUDGET or axis.key not in asked_of(chosen)]
    settings = [
        ", ".join(
            [row["arm"], *(f"{a.short} {a.text(row['at'][a.key])}" for a in free if a.key in row["at"])]
        )
        for row in rows
    ]
    own = [all(chosen[key] == value for key, value in row["at"].items()) for row in rows]
    frame = pd.DataFrame(rows).assign(x=[row[field] for row in rows], setting=settings, chosen=own)
    best = frame[frame["front"]]
    words = "; ".join(
        f"{name}: {numbers.lift(lift)}" for name, lift in zip(best["setting"], best["lift"], strict=True)
    )
    chart(
        apart_charts.fronts,
        frame.drop(columns="at"),
        f"True lift against {across.lower()}. No other beats in lift, P99 and cost at once: {words}",
        arms=tuple(dict.fromkeys(frame["arm"])),
        x_title=f"{across} ({unit})",
    )
    found = "" if reason is None else f" None holds everything: {plain(reason)}."
    st.caption(
        "By the truth. Filled: no other setting beats it in lift, P99 and cost at once. Ringed: chosen. "
        "The large square is the cheapest that holds all that is asked there, which the answers below say."
        f"{found}"
    )


@st.cache_resource(show_spinner=False, max_entries=4)  # read, and not changed
def _options(folder: str, stamp: int) -> list[list[dict[str, Any]]]:
    """Every arm in every cell, by what is asked of it; once for all moves of a slider."""
    sweep = read_sweep(Path(folder))
    return options(points_of(sweep), terms_of(sweep))


@st.cache_data(show_spinner=False, max_entries=64)
def _rows(
    folder: str, stamp: int, asked: tuple[tuple[str, Any], ...]
) -> tuple[list[dict[str, Any]], str | None]:
    """The known options that are asked for the same, whatever the budget; and why none holds everything."""
    groups, wanted = _options(folder, stamp), dict(asked)
    alike = [group for group in groups if _but_budget(group[0]["at"]) == _but_budget(wanted)]
    every = [option for group in alike for option in group]
    (front,) = pareto([every])
    best = {_name(option) for option in front}
    own = [group for group in alike if asked_of(group[0]["at"]) == wanted]
    cheap = cheapest(own)[0] if own else {"true_value": None, "reason": None}
    least = None if cheap["true_value"] is None else _name(cheap["true_value"])
    rows = [
        {
            "arm": option["arm"],
            "at": option["at"],
            "lift": option["lift"]["true_value"],
            "p99_ms": option["p99_ms"]["true_value"],
            "cost": option["per_hour"],
            "front": _name(option) in best,
            "cheapest": _name(option) == least,
        }
        for option in every
    ]
    return [row for row in rows if None not in (row["lift"], row["p99_ms"], row["cost"])], cheap["reason"]


def _but_budget(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in asked_of(settings).items() if key != BUDGET}


def _name(option: Mapping[str, Any]) -> tuple[str, int]:
    return option["arm"], option["cell"]
