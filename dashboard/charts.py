"""The charts: data frames in, Altair out. Every mark has a colour of the palette."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from dashboard.palette import (
    BUDGET,
    CONTROL,
    GOOD_TO_BAD,
    NEUTRAL,
    PART_COLOURS,
    TREATMENT,
    TRUTH,
    arm_colours,
)
from simulator.results import numbers
from simulator.results.bottleneck import PARTS
from simulator.results.scorecard import Effect

ESTIMATE, TRUE, UNDETECTABLE = "Estimate and interval", "True effect", "Smaller than the MDE"


def lifts(effects: Sequence[Effect], *, legend: bool = True) -> alt.LayerChart:
    """Each metric's lift with its interval, the true effect beside it, the MDE as a band around zero."""
    ordered = sorted(effects, key=lambda effect: effect.role != "primary")
    rows = pd.DataFrame([_lift_row(effect) for effect in ordered])
    scale = alt.Scale(domain=[ESTIMATE, TRUE, UNDETECTABLE], range=[CONTROL, TRUTH, NEUTRAL])
    box = alt.Legend(orient="top", symbolOpacity=1) if legend else None

    colour = alt.Color("mark:N", scale=scale, title=None, legend=box)

    def named(name: str) -> alt.Chart:
        return alt.Chart(rows.assign(mark=name))

    # In words: without them Vega sorts the layers' labels together, and a layer may lack some.
    order = list(rows["label"])
    y = alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=220, minExtent=130))
    percent = alt.Axis(format="+.1~%", tickCount=6, gridColor=NEUTRAL, gridOpacity=0.25)

    def x(column: str) -> alt.X:
        return alt.X(f"{column}:Q", title="Lift over control", axis=percent)

    tooltip = ["label:N", "estimate:N", "truth:N", alt.Tooltip("mde_text:N", title="MDE")]
    zero = alt.Chart().mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(x=alt.datum(0))
    mde = named(UNDETECTABLE).transform_filter("isValid(datum.mde)")
    truth = named(TRUE).transform_filter("isValid(datum.true_lift)")
    found = named(ESTIMATE).transform_filter("isValid(datum.lift)")
    shared = {"y": y, "color": colour, "tooltip": tooltip}
    band = mde.mark_bar(height=26, opacity=0.22).encode(x=x("mde_low"), x2="mde:Q", **shared)
    bar = found.mark_rule(strokeWidth=4, yOffset=-6).encode(x=x("ci_low"), x2="ci_high:Q", **shared)
    point = found.mark_point(filled=True, size=130, opacity=1, yOffset=-6).encode(x=x("lift"), **shared)
    diamond = truth.mark_point(filled=True, shape="diamond", size=150, opacity=1, yOffset=9)
    diamond = diamond.encode(x=x("true_lift"), **shared)
    return _layers(zero, band, bar, point, diamond).properties(height=alt.Step(62))


def _lift_row(effect: Effect) -> dict[str, Any]:
    shown = effect.enough
    mde = effect.mde if shown else None  # it rests on the same normal approximation as the interval
    return {
        "label": numbers.metric_form(effect.metric, effect.unit).label,
        "lift": effect.lift if shown else None,
        "ci_low": effect.ci_low if shown else None,
        "ci_high": effect.ci_high if shown else None,
        "true_lift": effect.true_lift,
        "mde": mde,
        # As far below zero as the MDE is above it on the log scale, so never below -100 %.
        "mde_low": 1 / (1 + mde) - 1 if mde is not None else None,
        "estimate": numbers.lift_with_interval(effect.lift, effect.ci, effect.level)
        if shown
        else "not enough data",
        "truth": numbers.lift(effect.true_lift),
        "mde_text": numbers.percent(mde),
    }


def distribution(bins: pd.DataFrame, budget_ms: float | None, *, cumulative: bool) -> alt.LayerChart:
    """Latency as a histogram or a CDF on a logarithmic axis, with the budget line."""
    arms = list(dict.fromkeys(bins["arm"]))
    axis = alt.Axis(format="~r", gridColor=NEUTRAL, gridOpacity=0.25)
    scale = alt.Scale(type="log", nice=False)
    share = alt.Axis(format="~%", gridColor=NEUTRAL, gridOpacity=0.25)
    column, title = (
        ("cumulative", "Share of requests done by then") if cumulative else ("share", "Share of requests")
    )
    x = alt.X(
        "high_ms:Q" if cumulative else "low_ms:Q", scale=scale, axis=axis, title="Latency (ms, log scale)"
    )
    colour = alt.Color(
        "arm:N",
        scale=alt.Scale(domain=arms, range=arm_colours(arms)),
        title=None,
        legend=alt.Legend(orient="top"),
    )
    tooltip = [
        "arm:N",
        alt.Tooltip("low_ms:Q", format=".3~g", title="from (ms)"),
        alt.Tooltip("high_ms:Q", format=".3~g", title="to (ms)"),
        alt.Tooltip(f"{column}:Q", format=".2%", title="share"),
    ]
    base = alt.Chart(bins).encode(
        x=x, y=alt.Y(f"{column}:Q", axis=share, title=title, stack=None), color=colour
    )
    marks: list[alt.Chart] = [
        base.mark_line(interpolate="step-before", strokeWidth=2.5).encode(tooltip=tooltip)
        if cumulative
        else base.mark_area(interpolate="step-after", opacity=0.45, line=True).encode(tooltip=tooltip)
    ]
    return _layers(*marks, *_budget_line(budget_ms)).properties(height=340)


def _budget_line(budget_ms: float | None) -> list[alt.Chart]:
    if budget_ms is None:
        return []
    line = alt.Chart().mark_rule(color=BUDGET, strokeWidth=2, strokeDash=[6, 4])
    words = alt.Chart().mark_text(
        color=BUDGET, align="left", dx=6, dy=8, fontWeight="bold", text=f"budget {numbers.ms(budget_ms)}"
    )
    return [line.encode(x=alt.datum(budget_ms)), words.encode(x=alt.datum(budget_ms), y=alt.value(0))]


def waterfall(stages: pd.DataFrame, arm: str, colour: str, end_ms: float) -> alt.LayerChart:
    """One arm's mean request, stage after stage; waiting is grey, work has the arm's colour."""
    rows = stages.assign(colour=[NEUTRAL if waiting else colour for waiting in stages["waiting"]])
    return _stage_bars(rows, ("start_ms", "end_ms", "mean_ms"), f"{arm}: mean, from arrival (ms)", end_ms)


def stage_p99(stages: pd.DataFrame, arm: str, colour: str, end_ms: float) -> alt.LayerChart:
    """Each stage's own P99 in one arm; these do not add up to the P99 of the whole."""
    rows = stages.assign(zero=0.0, colour=[NEUTRAL if waiting else colour for waiting in stages["waiting"]])
    return _stage_bars(rows, ("zero", "p99_ms", "p99_ms"), f"{arm}: P99 of each stage (ms)", end_ms)


def _stage_bars(
    rows: pd.DataFrame, columns: tuple[str, str, str], title: str, end_ms: float
) -> alt.LayerChart:
    """Bars from the first column to the second, labelled with the third; arms share the axis' end."""
    start, end, label = columns
    scale = alt.Scale(domain=[0, 1.15 * end_ms], nice=False)  # room for the last label
    base = alt.Chart(rows).encode(
        y=alt.Y("stage:N", sort=None, title=None, axis=alt.Axis(minExtent=80)),
        tooltip=[
            "stage:N",
            alt.Tooltip("mean_ms:Q", format=".3~f", title="mean (ms)"),
            alt.Tooltip("p99_ms:Q", format=".3~f", title="P99 (ms)"),
        ],
    )
    bar = base.mark_bar(height=18).encode(
        x=alt.X(f"{start}:Q", title=title, axis=_ms_axis(), scale=scale),
        x2=f"{end}:Q",
        color=alt.Color("colour:N", scale=None),
    )
    text = base.mark_text(align="left", dx=5, color=NEUTRAL).encode(
        x=alt.X(f"{end}:Q", title=title, scale=scale), text=alt.Text(f"{label}:Q", format=".3~r")
    )
    return _layers(bar, text).properties(height=alt.Step(30))


def _ms_axis() -> alt.Axis:
    return alt.Axis(format="~r", gridColor=NEUTRAL, gridOpacity=0.25, tickCount=6)


def ladder(steps: pd.DataFrame) -> alt.Chart:
    """The share of each arm's requests served by each ladder step."""
    names = list(dict.fromkeys(steps.sort_values("step")["step_name"]))
    colours = [GOOD_TO_BAD[min(i, len(GOOD_TO_BAD) - 1)] for i in range(len(names))]
    chart: alt.Chart = (
        alt.Chart(steps)
        .mark_bar(height=30)
        .encode(
            y=alt.Y("arm:N", sort=None, title=None),
            x=alt.X("share:Q", stack="zero", axis=alt.Axis(format="~%"), title="Share of requests"),
            order=alt.Order("step:Q"),
            color=alt.Color(
                "step_name:N",
                scale=alt.Scale(domain=names, range=colours),
                title="Ladder step",
                legend=alt.Legend(orient="top"),
            ),
            tooltip=[
                "arm:N",
                alt.Tooltip("step_name:N", title="step"),
                alt.Tooltip("share:Q", format=".2%"),
                alt.Tooltip("missed_share:Q", format=".2%", title="of these missed"),
                alt.Tooltip("requests:Q", format=","),
            ],
        )
        .properties(height=alt.Step(46))
    )
    return chart


def busy(rows: pd.DataFrame) -> alt.Chart:
    """How busy each arm's servers are, by the work they do; full width is always."""
    colour = _part_colour(rows)
    axis = alt.Axis(format="~%", tickCount=5, gridColor=NEUTRAL, gridOpacity=0.25)
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar(height=20)
        .encode(
            y=alt.Y("server:N", sort=None, title=None, axis=alt.Axis(minExtent=140, labelLimit=220)),
            x=alt.X("share:Q", scale=alt.Scale(domain=[0, 1]), axis=axis, title="Share of the time busy"),
            color=colour,
            tooltip=["server:N", "part:N", alt.Tooltip("share:Q", format=".1%", title="of the time")],
        )
        .properties(height=alt.Step(34))
    )
    return chart


def p99_parts(rows: pd.DataFrame) -> alt.Chart:
    """What the time of each arm's requests about the P99 is spent on."""
    axis = alt.Axis(format="~%", grid=False, tickCount=5)  # a grid would show through the paler parts
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar(height=30)
        .encode(
            y=alt.Y("arm:N", sort=None, title=None, axis=alt.Axis(minExtent=80)),
            x=alt.X(
                "share:Q",
                stack="zero",
                scale=alt.Scale(domain=[0, 1]),
                axis=axis,
                title="Share of P99 latency",
            ),
            order=alt.Order("order:Q"),
            color=_part_colour(rows),
            tooltip=["arm:N", "part:N", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=alt.Step(68))
    )
    return chart


def _part_colour(rows: pd.DataFrame) -> alt.Color:
    """The colours of the parts that are there; the same part has the same colour in every chart."""
    found = set(rows["part"])
    pairs = [pair for pair in zip(PARTS.values(), PART_COLOURS, strict=True) if pair[0] in found]
    scale = alt.Scale(domain=[name for name, _ in pairs], range=[colour for _, colour in pairs])
    return alt.Color("part:N", scale=scale, title=None, legend=alt.Legend(orient="top", columns=3))


def curve(
    rows: pd.DataFrame,
    x_title: str,
    y_title: str,
    y_format: str,
    *,
    budget_ms: float | None = None,
    zero_line: bool = False,
) -> alt.LayerChart:
    """A metric over a sweep's axis with its interval band; the chosen cell's points are ringed.

    Args:
        rows: series, x (numbers, or words in their order), cell (in words), chosen, value, ci_low, ci_high,
            true_value, text, truth.
        x_title, y_title, y_format: of the axes.
        budget_ms: where to draw the latency budget; None for no such line.
        zero_line: whether to draw a line at zero, for lifts.
    """
    names = list(dict.fromkeys(rows["series"]))
    colours = arm_colours(names) if len(names) > 1 else [TREATMENT]
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(domain=names, range=colours),
        title=None,
        legend=alt.Legend(orient="top", symbolOpacity=1),
    )
    base = alt.Chart(rows).encode(
        x=alt.X("x:Q", title=x_title, scale=alt.Scale(zero=False), axis=_ms_axis())
        if pd.api.types.is_numeric_dtype(rows["x"])
        else alt.X("x:O", title=x_title, sort=list(dict.fromkeys(rows["x"]))),
        color=colour,
        tooltip=[
            "series:N",
            "cell:N",
            alt.Tooltip("text:N", title="value"),
            "truth:N",
        ],
    )
    y_axis = alt.Axis(format=y_format, gridColor=NEUTRAL, gridOpacity=0.25)
    y = alt.Y("value:Q", title=y_title, scale=alt.Scale(zero=False), axis=y_axis)
    band = base.mark_area(opacity=0.22).encode(
        y=alt.Y("ci_low:Q", title=y_title, scale=alt.Scale(zero=False), axis=y_axis), y2="ci_high:Q"
    )
    line = base.mark_line(strokeWidth=2.5).encode(
        y=y, order=alt.Order("x:Q")
    )  # not on the area: an order there splits it into slivers of no width
    points = base.mark_point(filled=True, size=55, opacity=1).encode(y=y)
    truth = base.transform_filter("isValid(datum.true_value)").mark_point(
        shape="diamond", filled=True, size=60, color=TRUTH, opacity=0.9
    )
    truth = truth.encode(y=alt.Y("true_value:Q"), color=alt.value(TRUTH))
    ring = base.transform_filter(alt.datum.chosen).mark_point(size=380, strokeWidth=3, opacity=1).encode(y=y)
    layers = [band, line, points, truth, ring]
    if zero_line:
        zero = alt.Chart().mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(y=alt.datum(0))
        layers = [zero, *layers]
    if budget_ms is not None:
        layers = [*_budget_line(budget_ms), *layers]
    return _layers(*layers).properties(height=340)


def _layers(*marks: alt.Chart) -> alt.LayerChart:
    layers = alt.layer(*marks)
    assert isinstance(layers, alt.LayerChart)
    return layers
