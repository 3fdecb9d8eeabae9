"""What a tighter or looser latency budget would do, read from a sweep that was simulated before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, limits, states, tiles
from dashboard.folders import chosen_sweep
from simulator.results import numbers
from simulator.results.read import Sweep, read_sweep
from simulator.results.report import service_times
from simulator.results.scorecard import control_name, tile_metrics

LIFT, ARMS = "Lift", "Each arm"
BY_BUDGET, BY_P99 = "Budget", "P99 latency"


def page() -> None:
    """Draw the page."""
    st.title("What if the budget were another?")
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
    if table.empty:
        st.info("Not enough data: the sweep has no point yet.")
        return
    panel(sweep, table)


@st.cache_data(show_spinner=False, max_entries=16)
def _table(folder: str, stamp: tuple[int, int]) -> pd.DataFrame:
    frame: pd.DataFrame = read_sweep(Path(folder)).table("sweep").to_pandas()
    return frame


@st.fragment
def panel(sweep: Sweep, table: pd.DataFrame) -> None:
    """Slider, tiles and curve: moving the slider redraws these alone."""
    card = _card(sweep)
    arms = _arms(card, table)
    budgets = sorted(table["budget_ms"].unique())
    names = _names([float(budget) for budget in budgets])
    if len(names) > 1:
        chosen_name = st.select_slider(
            "Latency budget (ms)",
            list(names),
            value=_nearest(names, sweep.manifest.get("budget_ms")),
            key="budget",
            bind="query-params",
        )
        chosen = names[str(chosen_name)]
    else:
        chosen = next(iter(names.values()))
        st.write(f"Latency budget (ms): {chosen:g}, the only one of this sweep.")
    st.caption(
        "Every point is a whole simulated run at that budget; nothing is interpolated. "
        + service_times(sweep.manifest)
    )
    treatment = _pick_treatment(arms)
    cell = table[table["budget_ms"] == chosen]
    level = numbers.level_name(card.get("level"))
    known = set(table["metric"])
    first = [metric for metric in tile_metrics(card) if metric.name in known]
    money = [metric.name for metric in first if not metric.of_serving]
    for metrics in (money, [metric.name for metric in first if metric.of_serving]):
        tiles.rows([_tile(metric, cell, arms[0], treatment, level) for metric in metrics])
    _curve(table, money, arms[0], treatment, chosen)
    limits.section(sweep, sweep.cell(int(cell["cell"].iloc[0])) or {}, f", at {numbers.ms(chosen)}")


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


def _names(budgets: list[float]) -> dict[str, float]:
    """Budgets by the name the slider shows: three digits, or as many as distinguish them."""
    for digits in range(3, 18):
        names = {f"{budget:.{digits}g}": budget for budget in budgets}
        if len(names) == len(budgets):
            break
    return names


def _nearest(names: dict[str, float], budget_ms: object) -> str:
    """The option next to the sweep's own budget, else the middle one."""
    if not isinstance(budget_ms, int | float):
        return list(names)[len(names) // 2]
    return min(names, key=lambda name: abs(names[name] - budget_ms))


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


def _curve(table: pd.DataFrame, money: list[str], control: str, treatment: str, chosen: float) -> None:
    st.subheader("Latency against money")
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
    across = right.segmented_control(
        "Against", [BY_BUDGET, BY_P99], default=BY_BUDGET, required=True, key="against", bind="query-params"
    )
    form = numbers.metric_form(str(metric))
    if show == LIFT:
        rows = _points(table, [treatment], f"{metric}_lift", numbers.lift)
        title, y_format = f"{form.label}: lift over control", "+.1~%"
    else:
        rows = _points(table, [control, treatment], str(metric), form.form)
        title, y_format = f"{form.label} ({form.unit})", ".2%" if form.form is numbers.ratio else "~r"
    x, x_title = (
        ("budget_ms", "Latency budget (ms)")
        if across == BY_BUDGET
        else ("p99_ms", "P99 latency of the arm (ms)")
    )
    chart = charts.curve(rows, x, x_title, title, y_format, chosen, zero_line=show == LIFT)
    st.altair_chart(chart, width="stretch", alt=f"{title} over {x_title}, chosen budget {chosen:g} ms")
    st.caption(
        "Points are simulated, the lines between them only lead the eye. The band is the interval where the "
        "experiment has one, diamonds are the truth, the ring is the budget chosen above."
    )


def _points(
    table: pd.DataFrame, arms: list[str], metric: str, form: Callable[[float | None], str]
) -> pd.DataFrame:
    """The curve's rows: one per budget and arm."""
    keys = ["budget_ms", "arm"]
    p99 = table[table["metric"] == "p99_ms"].set_index(keys)["value"].rename("p99_ms")
    rows = table[(table["metric"] == metric) & table["arm"].isin(arms)].join(p99, on=keys)
    texts = [
        f"{form(value)} ({numbers.interval((low, high), form)})"
        for value, low, high in zip(rows["value"], rows["ci_low"], rows["ci_high"], strict=True)
    ]
    rows = rows.assign(series=rows["arm"], text=texts, truth=[form(value) for value in rows["true_value"]])
    return rows.sort_values("arm", key=lambda names: names != arms[0], kind="stable")


page()
