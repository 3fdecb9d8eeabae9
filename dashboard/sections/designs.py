"""Designs of an A/B test side by side: what each would have shown on a market whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.draw import chart
from dashboard.sections import apart_charts
from dashboard.words import plain
from simulator.results import numbers


def draw(found: Mapping[str, Any], key: str, own_lifts: Mapping[str, float | None] | None = None) -> None:
    """The choice, what the arms do to each other under each design, and every figure.

    Args:
        found: of `laser-ab designs --json`.
        key: of the controls: a page may have two of these.
        own_lifts: the true ones of the run itself, by metric, where the page has them too.
    """
    st.write(
        f"**{plain(found['choice']['text'])}** {numbers.count(found['assignments'])} assignments of each "
        f"were drawn on the same market, {plain(found['treatment'])} against {plain(found['control'])}."
    )
    names = [name for name, truth in found["truth"].items() if truth["lift"] is not None]
    if not names:
        st.caption("There were too few events for a true lift.")
        return
    metric = str(
        st.segmented_control(
            "Metric of the designs", names, default=names[0], required=True, key=f"{key}_metric",
            bind="query-params", format_func=lambda name: numbers.metric_form(name).label,
        )
    )  # fmt: skip
    judged = {
        name: own["metrics"][metric]
        for name, own in found["designs"].items()
        if metric in own.get("metrics", {})
    }
    if judged:
        rows = pd.DataFrame(
            [
                {"design": name, "which": which, "value": own[field], "se": own[f"{field}_se"]}
                for name, own in judged.items()
                for which, field in ((apart_charts.BIAS, "bias"), (apart_charts.INTERFERENCE, "interference"))
            ]
        )
        words = "; ".join(f"{name} {_points(own['interference'])}" for name, own in judged.items())
        label = numbers.metric_form(metric).label
        chart(
            apart_charts.designs,
            apart_charts.with_ends(rows),
            f"{label}: what the arms do to each other, by design. {words}",
            names=tuple(judged),
        )
    table = [_row(name, own, judged.get(name)) for name, own in found["designs"].items()]
    st.table(pd.DataFrame(table), border="horizontal", hide_index=True)
    st.caption(_explained(found, metric, own_lifts or {}))
    st.markdown("**What the arms do to each other, in words**")
    for own in found["designs"].values():
        st.write(plain(own.get("sentences", {}).get(metric, own["sentence"])))


def _explained(found: Mapping[str, Any], metric: str, own_lifts: Mapping[str, float | None]) -> str:
    """What the table's columns are."""
    draws, level = found["assignments"], found.get("level", 0.95)
    of_run = numbers.lift(own_lifts.get(metric))
    same = "" if of_run == numbers.MISSING else f" (the run's own: {of_run})"
    luck = numbers.error(math.sqrt(level * (1 - level) / draws))
    return (
        f"Over these {numbers.count(draws)} draws of clicks the true lift is "
        f"{numbers.lift(found['truth'][metric]['lift'])}{same}. Lift shown: the mean over the draws. Bias: "
        "by how much that differs from the true lift; interference: the part of the bias that the arms do "
        "to each other in one market. Own error: how far one draw is from the next. These are points of the "
        "logarithm, about those of the lift; ± and the bars are one and two standard errors. Coverage counts "
        "intervals that hold the truth, power those that leave 0 out; of so few draws a coverage of "
        f"{numbers.percent(level, digits=0)} has a standard error of {luck}."
    )


def _row(name: str, design: Mapping[str, Any], judged: Mapping[str, Any] | None) -> dict[str, str]:
    headings = ("Units", "Lift shown", "Bias", "Interference", "Own error", "Coverage", "Power")
    if judged is None:
        return {"Design": name, **dict.fromkeys(headings, numbers.MISSING)}
    cells = (
        numbers.count(design["units"]),
        numbers.lift(judged["estimate"]),
        _both(judged, "bias"),
        _both(judged, "interference"),
        _points(judged["sd"], signed=False),
        numbers.percent(judged["coverage"], digits=0),
        numbers.percent(judged["power"], digits=0),
    )
    return {"Design": name, **dict(zip(headings, cells, strict=True))}


def _both(judged: Mapping[str, Any], field: str) -> str:
    return f"{_points(judged[field])} ± {numbers.error(judged[f'{field}_se']).removesuffix('%')}"


def _points(value: float, *, signed: bool = True) -> str:
    """A difference of logarithms: 0.102 -> "+10.2"."""
    return numbers.percent(value, signed=signed).removesuffix("%")
