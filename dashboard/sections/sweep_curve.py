"""Of a sweep: a metric over one of its settings, first its truth, then what this A/B would have estimated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, tiles
from dashboard.draw import chart, ink
from simulator.results import numbers
from simulator.results.axes import BUDGET, Axis

LIFT, ARMS = "Lift", "Each arm"
BY_P99 = "P99 latency"


def section(
    table: pd.DataFrame,
    money: Sequence[str],
    arms: tuple[str, str],
    axes: Sequence[Axis],
    chosen: Mapping[str, Any],
    answers: Mapping[str, Any],
) -> None:
    """The truth on an axis of its own; this A/B's estimates on theirs, if they are wanted.

    Args:
        table: the sweep's rows, with `true_se`.
        money: metrics to choose from, the primary one first.
        arms: control and treatment.
        axes: the sweep's.
        chosen: the value of each.
        answers: what the sweep says.
    """
    st.subheader("Settings against money")
    metric, as_lift, axis, by_p99 = _choices(money, axes)
    # Along one axis; the others stay at what is chosen.
    table = table[at(table, [one for one in axes if one is not axis], chosen)]
    form = numbers.metric_form(metric)
    if as_lift:
        rows = _points(table, arms[1:], f"{metric}_lift", numbers.lift)
        title, y_format = f"{form.label}: lift over control", "+.2~%"
    else:
        rows = _points(table, arms, metric, form.form)
        title, y_format = f"{form.label} ({form.unit})", ".2%" if form.form is numbers.ratio else "~r"
    rows = _placed(rows, axes, axis, chosen, by_p99=by_p99)
    x_title = "P99 latency of the arm (ms)" if by_p99 else axis.label
    budget = axis.key == BUDGET and axis.numeric and not by_p99
    if budget:
        rows = rows.assign(budget=rows["x"].map(charts.budget_words))
    even_ms = _break_even(answers, arms[1], chosen) if budget and as_lift and metric == money[0] else None
    where = f"over {x_title}, chosen {axis.short} {axis.text(chosen[axis.key])}"

    def draw(shown: pd.DataFrame, words: str) -> None:
        named = f"{title}, {words}"
        chart(
            charts.curve,
            shown,
            f"{named}, {where}",
            series=tuple(dict.fromkeys(shown["series"])),
            words=None if pd.api.types.is_numeric_dtype(shown["x"]) else tuple(dict.fromkeys(shown["x"])),
            titles=(x_title, named),
            y_format=y_format,
            ink=ink(),
            whole=not by_p99 and all(isinstance(value, int) for value in axis.values),
            budget=budget,
            break_even_ms=even_ms,
            zero_line=as_lift,
        )

    known = rows["truth"].notna().any()
    if known:
        draw(_truths(rows), "truth")
        st.caption(
            "Points are simulated, the lines between them only lead the eye. The band is the truth's own "
            "95 % error, where the simulation knows it; the ring is what is chosen above."
        )
    wanted = st.toggle(
        "What this A/B would have estimated", key="estimate", bind="query-params", disabled=not known
    )
    if wanted or not known:
        draw(rows, "estimate")
        st.caption(
            "All points rest on one split of the users: they are wrong together, and ten of them confirm no "
            "more than one. The band is the A/B's interval, diamonds are the truth."
        )


def at(table: pd.DataFrame, axes: Sequence[Axis], values: Mapping[str, Any]) -> pd.Series[bool]:
    """Which rows lie at these values of these axes."""
    found = pd.Series(True, index=table.index)
    for axis in axes:
        found &= table[axis.key] == axis.column(values[axis.key])
    return found


def _choices(money: Sequence[str], axes: Sequence[Axis]) -> tuple[str, bool, Axis, bool]:
    """The metric, whether its lift, and over which axis: by its values, or by the P99 that these lead to."""
    choices = st.container(horizontal=True, gap="medium")  # side by side as far as there is room
    metric = choices.segmented_control(
        "Metric",
        money,
        default=money[0],
        required=True,
        format_func=lambda name: numbers.metric_form(name).label,
        key="metric",
        bind="query-params",
    )
    show = choices.segmented_control(
        "Show", [LIFT, ARMS], default=LIFT, required=True, key="show", bind="query-params"
    )
    varying = [axis for axis in axes if len(axis.values) > 1] or list(axes)
    labels = {axis.label: axis for axis in varying}
    across = choices.segmented_control(
        "Against", [*labels, BY_P99], default=varying[0].label, required=True, key="against",
        bind="query-params",
    )  # fmt: skip
    return str(metric), show == LIFT, labels.get(str(across), varying[0]), across == BY_P99


def _break_even(answers: Mapping[str, Any], arm: str, chosen: Mapping[str, Any]) -> float | None:
    """Where the primary metric's true lift leaves zero over the budget, at the other axes' chosen values."""
    for one in answers["break_even_ms"]["all"]:
        if one["arm"] == arm and all(chosen[key] == value for key, value in one["at"].items()):
            found: float | None = one["true_value"]
            return found
    return None


def _placed(
    rows: pd.DataFrame, axes: Sequence[Axis], axis: Axis, chosen: Mapping[str, Any], *, by_p99: bool
) -> pd.DataFrame:
    """The rows with their place on the x axis, their cell in words, and whether that is chosen."""
    names = {axis.column(value): axis.text(value) for value in axis.values}
    words = [names[value] for value in rows[axis.key]]
    return rows.assign(
        x=rows["p99_ms"] if by_p99 else rows[axis.key] if axis.numeric else words,
        cell=[f"{axis.short} {word}" for word in words],
        chosen=rows[axis.key] == axis.column(chosen[axis.key]),
    ).drop(columns=[one.key for one in axes])  # a dot in a column's name means something else to a chart


def _truths(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows about the truth: it is the value, and its own error the band."""
    half = tiles.Z * rows["true_se"]
    return rows.assign(
        value=rows["truth"],
        ci_low=rows["truth"] - half,
        ci_high=rows["truth"] + half,
        truth=None,
        text=rows["truth_text"],
    ).dropna(subset=["value"])


def _points(
    table: pd.DataFrame, arms: Sequence[str], metric: str, form: Callable[[float | None], str]
) -> pd.DataFrame:
    """The curve's rows: one per cell and arm."""
    keys = ["cell", "arm"]
    p99 = table[table["metric"] == "p99_ms"].set_index(keys)["value"].rename("p99_ms")
    rows = table[(table["metric"] == metric) & table["arm"].isin(arms)].join(p99, on=keys)
    texts = [
        f"{form(value)} ({numbers.interval((low, high), form)})"
        for value, low, high in zip(rows["value"], rows["ci_low"], rows["ci_high"], strict=True)
    ]
    rows = rows.assign(
        series=rows["arm"],
        text=texts,
        truth=rows["true_value"],
        truth_text=[form(value) for value in rows["true_value"]],
    )
    return rows.sort_values("arm", key=lambda names: names != arms[0], kind="stable")
