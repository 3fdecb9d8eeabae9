"""What another setting would do, the latency budget or any other, read from a sweep simulated before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, limits, states, tiles
from dashboard.folders import chosen_sweep
from simulator.results import numbers
from simulator.results.axes import BUDGET, Axis, in_words
from simulator.results.bottleneck import traffic
from simulator.results.read import Sweep, read_sweep
from simulator.results.report import service_times
from simulator.results.scorecard import control_name, tile_metrics

LIFT, ARMS = "Lift", "Each arm"
BY_P99 = "P99 latency"


def page() -> None:
    """Draw the page."""
    st.title("What if a setting were another?")
    sweep = chosen_sweep()
    if sweep is None:
        states.no_sweeps()
        return
    states.status(sweep)
    if sweep.status == "damaged":
        return
    if not sweep.has("sweep.parquet"):
        states.not_yet("Points", sweep)
        return
    stamp = (sweep.path / "sweep.parquet").stat()
    table = _table(str(sweep.path), (stamp.st_mtime_ns, stamp.st_size))
    if table.empty or not sweep.axes:
        st.info("Not enough data: the sweep has no point yet.")
        return
    panel(sweep, table)


@st.cache_data(show_spinner=False, max_entries=16)
def _table(folder: str, stamp: tuple[int, int]) -> pd.DataFrame:
    frame: pd.DataFrame = read_sweep(Path(folder)).table("sweep").to_pandas()
    return frame


@st.fragment
def panel(sweep: Sweep, table: pd.DataFrame) -> None:
    """Sliders, tiles and curve: moving a slider redraws these alone."""
    card = _card(sweep)
    arms = _arms(card, table)
    chosen = {axis.key: _choose(axis) for axis in sweep.axes}
    st.caption(
        "Every point is a whole simulated run with those settings; nothing is interpolated. "
        + service_times(sweep.manifest)
    )
    differs = traffic(sweep.cell(one) or {} for one in sweep.cells)
    if differs:
        st.info(differs)
    treatment = _pick_treatment(arms)
    cell = table[_at(table, sweep.axes, chosen)]
    level = numbers.level_name(card.get("level"))
    known = set(table["metric"])
    first = [metric for metric in tile_metrics(card) if metric.name in known]
    money = [metric.name for metric in first if not metric.of_serving]
    for metrics in (money, [metric.name for metric in first if metric.of_serving]):
        tiles.rows([_tile(metric, cell, arms[0], treatment, level) for metric in metrics])
    _curve(table, money, (arms[0], treatment), sweep.axes, chosen)
    where = f", at {in_words(sweep.axes, chosen)}"
    limits.section(sweep, sweep.cell(int(cell["cell"].iloc[0])) or {}, where)


def _choose(axis: Axis) -> Any:
    """A control for one axis; a sentence where it has one value."""
    names = {axis.text(value): value for value in axis.values}
    if len(names) == 1:
        (name,) = names
        st.write(f"{axis.label}: {name}, the only one of this sweep.")
        return names[name]
    name = st.select_slider(
        axis.label, list(names), value=axis.text(axis.nearest), key=axis.key, bind="query-params"
    )
    return names[str(name)]


def _at(table: pd.DataFrame, axes: Sequence[Axis], values: Mapping[str, Any]) -> pd.Series[bool]:
    """Which rows lie at these values of these axes."""
    found = pd.Series(True, index=table.index)
    for axis in axes:
        found &= table[axis.key] == axis.column(values[axis.key])
    return found


def _pick_treatment(arms: list[str]) -> str:
    if len(arms) <= 2:
        return arms[-1]
    chosen = st.segmented_control(
        "Treatment", arms[1:], default=arms[1], required=True, key="arm", bind="query-params"
    )
    return str(chosen)


def _card(sweep: Sweep) -> dict[str, Any]:
    """The first cell's scorecard: what all cells have in common; empty if there is none."""
    cells = sweep.cells
    return (sweep.cell(cells[0]) if cells else None) or {}


def _arms(card: dict[str, Any], table: pd.DataFrame) -> list[str]:
    """The arms' names, control first."""
    control = control_name(card)
    return sorted(dict.fromkeys(table["arm"]), key=lambda name: name != control)


def _row(cell: pd.DataFrame, arm: str, metric: str) -> dict[str, float | None]:
    """One metric of one arm: value, ci_low, ci_high, true_value; None where unknown."""
    rows = cell[(cell["arm"] == arm) & (cell["metric"] == metric)]
    keys = ("value", "ci_low", "ci_high", "true_value")
    if rows.empty:
        return dict.fromkeys(keys)
    first = rows.iloc[0]
    return {key: None if pd.isna(first[key]) else float(first[key]) for key in keys}


def _tile(metric: str, cell: pd.DataFrame, control: str, treatment: str, level: str) -> tiles.Tile:
    form = numbers.metric_form(metric)
    base, value = _row(cell, control, metric), _row(cell, treatment, metric)
    lift = _row(cell, treatment, f"{metric}_lift")
    ends = numbers.interval((value["ci_low"], value["ci_high"]), form.form)
    truth = value["true_value"] if lift["value"] is None else lift["true_value"]
    printed = form.form(truth)
    if lift["value"] is not None:
        ends, printed = numbers.interval((lift["ci_low"], lift["ci_high"]), numbers.lift), numbers.lift(truth)
    # A lift that is there and null was kept back: an arm has too few users.
    has_lift = f"{metric}_lift" in set(cell.loc[cell["arm"] == treatment, "metric"])
    return tiles.Tile(
        label=form.label,
        value=form.form(value["value"]),
        lift=lift["value"],
        ci=(lift["ci_low"], lift["ci_high"]),
        lines=(f"{level} {ends}", f"true {printed}", f"control {form.form(base['value'])}"),
        higher_is_better=form.higher_is_better,
        help=form.meaning,
        enough=lift["value"] is not None or not has_lift,
    )


def _curve(
    table: pd.DataFrame,
    money: list[str],
    arms: tuple[str, str],
    axes: Sequence[Axis],
    chosen: Mapping[str, Any],
) -> None:
    st.subheader("Settings against money")
    left, middle, right = st.columns(3)
    metric = left.segmented_control(
        "Metric",
        money,
        default=money[0],
        required=True,
        format_func=lambda name: numbers.metric_form(name).label,
        key="metric",
        bind="query-params",
    )
    show = middle.segmented_control(
        "Show", [LIFT, ARMS], default=LIFT, required=True, key="show", bind="query-params"
    )
    varying = [axis for axis in axes if len(axis.values) > 1] or list(axes)
    labels = {axis.label: axis for axis in varying}
    across = right.segmented_control(
        "Against", [*labels, BY_P99], default=varying[0].label, required=True, key="against",
        bind="query-params",
    )  # fmt: skip
    axis = labels.get(str(across), varying[0])
    # Along one axis; the others stay at what is chosen.
    table = table[_at(table, [one for one in axes if one is not axis], chosen)]
    form = numbers.metric_form(str(metric))
    if show == LIFT:
        rows = _points(table, arms[1:], f"{metric}_lift", numbers.lift)
        title, y_format = f"{form.label}: lift over control", "+.1~%"
    else:
        rows = _points(table, arms, str(metric), form.form)
        title, y_format = f"{form.label} ({form.unit})", ".2%" if form.form is numbers.ratio else "~r"
    by_p99 = across == BY_P99
    names = {axis.column(value): axis.text(value) for value in axis.values}
    words = [names[value] for value in rows[axis.key]]
    rows = rows.assign(
        x=rows["p99_ms"] if by_p99 else rows[axis.key] if axis.numeric else words,
        cell=[f"{axis.short} {word}" for word in words],
        chosen=rows[axis.key] == axis.column(chosen[axis.key]),
    ).drop(columns=[one.key for one in axes])  # a dot in a column's name means something else to a chart
    x_title = "P99 latency of the arm (ms)" if by_p99 else axis.label
    budget_ms = chosen[BUDGET] if axis.key == BUDGET and axis.numeric and not by_p99 else None
    chart = charts.curve(rows, x_title, title, y_format, budget_ms=budget_ms, zero_line=show == LIFT)
    at = axis.text(chosen[axis.key])
    st.altair_chart(chart, width="stretch", alt=f"{title} over {x_title}, chosen {axis.short} {at}")
    st.caption(
        "Points are simulated, the lines between them only lead the eye. The band is the interval where the "
        "experiment has one, diamonds are the truth, the ring is what is chosen above."
    )


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
    rows = rows.assign(series=rows["arm"], text=texts, truth=[form(value) for value in rows["true_value"]])
    return rows.sort_values("arm", key=lambda names: names != arms[0], kind="stable")


page()
