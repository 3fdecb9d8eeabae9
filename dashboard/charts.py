"""Charts of effects, and what all charts share: data frames in, Altair out; every mark names its colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from dashboard.palette import BUDGET, CONTROL, NEUTRAL, TREATMENT, TRUTH, arm_colours
from simulator.results import numbers
from simulator.results.scorecard import Effect

Rows = pd.DataFrame | alt.NamedData  # a chart's data, or in their place the name that they will have
ESTIMATE, TRUE, UNDETECTABLE = "Estimate and interval", "True effect", "Smaller than the MDE"
ESTIMATE_LINE = "Estimate of this A/B"
# What the chart of lifts marks -> its colour, and the column that it takes.
_MARKS = {
    ESTIMATE: (CONTROL, "lift"),
    TRUE: (TRUTH, "true_lift"),
    UNDETECTABLE: (NEUTRAL, "mde"),
}


def lift_rows(effects: Sequence[Effect], labels: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of `lifts`.

    Args:
        effects: in the order of the chart.
        labels: of each; its metric's by default.
    """
    rows = pd.DataFrame([_lift_row(effect) for effect in effects])
    return rows if labels is None else rows.assign(label=list(labels))


def marks_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """Which marks some of these rows have: a legend names no others."""
    return tuple(mark for mark, (_, column) in _MARKS.items() if rows[column].notna().any())


def lifts(rows: Rows, *, labels: Sequence[str], marks: Sequence[str], legend: bool = True) -> alt.LayerChart:
    """Each effect's lift with its interval, the true effect beside it, the MDE as a band around zero.

    Args:
        rows: of `lift_rows`.
        labels: theirs, in the order of the chart.
        marks: which of ESTIMATE, TRUE and UNDETECTABLE there are.
        legend: whether to say what the marks are.
    """
    # One below the other: a telephone has no room for them side by side.
    colour = colours("mark", marks, [_MARKS[mark][0] for mark in marks], columns=1, symbolOpacity=1)
    if not legend:
        colour["legend"] = None

    def named(mark: str) -> alt.Chart:
        known = alt.Chart(rows).transform_filter(f"isValid(datum.{_MARKS[mark][1]})")
        return known.transform_calculate(mark=f"'{mark}'")

    # In words: without them Vega sorts the layers' labels together, and a layer may lack some.
    y = alt.Y("label:N", sort=list(labels), title=None, axis=alt.Axis(labelLimit=220, minExtent=130))

    def x(column: str) -> alt.X:
        return alt.X(f"{column}:Q", title="Lift over control", axis=axis("+.1~%", tickCount=6))

    tooltip = [alt.Tooltip(f"{name}:N") for name in ("label", "estimate", "truth")]
    tooltip += [alt.Tooltip("mde_text:N", title="MDE")]
    shared = {"y": y, "color": colour, "tooltip": tooltip}
    band = named(UNDETECTABLE).mark_bar(height=26, opacity=0.22)
    band = band.encode(x=x("mde_low"), x2=alt.X2("mde:Q"), **shared)
    bar = named(ESTIMATE).mark_rule(strokeWidth=4, yOffset=-6)
    bar = bar.encode(x=x("ci_low"), x2=alt.X2("ci_high:Q"), **shared)
    point = named(ESTIMATE).mark_point(filled=True, size=130, opacity=1, yOffset=-6)
    point = point.encode(x=x("lift"), **shared)
    diamond = named(TRUE).mark_point(filled=True, shape="diamond", size=150, opacity=1, yOffset=9)
    diamond = diamond.encode(x=x("true_lift"), **shared)
    return layers(zero("x"), band, bar, point, diamond).properties(height=alt.Step(62))


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


def curve(
    rows: Rows,
    *,
    series: Sequence[str],
    words: Sequence[str] | None,
    titles: tuple[str, str],
    y_format: str,
    ink: str,
    whole: bool = False,
    budget: bool = False,
    break_even_ms: float | None = None,
    zero_line: bool = False,
) -> alt.LayerChart:
    """A metric over a sweep's axis with its interval band; the chosen cell's points are ringed.

    Args:
        rows: series, x, cell (in words), chosen, value, ci_low, ci_high, truth (a number where it is to be
            marked beside the value), text, truth_text and, for a budget, budget (in words).
        series: their names, in the order of their colours.
        words: the values of x in their order, where they are words; None where they are numbers.
        titles: of the axes, x first.
        y_format: of the y axis.
        ink: of the text.
        whole: whether x is whole numbers, of which an axis marks no others.
        budget: whether x is the latency budget, and the chosen one a line.
        break_even_ms: where the lift leaves zero, to be marked there.
        zero_line: whether to draw a line at zero, for lifts.
    """
    x_title, y_title = titles
    base = alt.Chart(rows).encode(
        x=alt.X("x:Q", title=x_title, scale=alt.Scale(zero=False), axis=ms_axis(1 if whole else 0))
        if words is None
        else alt.X("x:O", title=x_title, sort=list(words)),
        color=colours(
            "series", series, arm_colours(series) if len(series) > 1 else [TREATMENT], symbolOpacity=1
        ),
        tooltip=[
            alt.Tooltip("series:N"),
            alt.Tooltip("cell:N"),
            alt.Tooltip("text:N", title="value"),
            alt.Tooltip("truth_text:N", title="truth"),
        ],
    )

    def at(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", title=y_title, scale=alt.Scale(zero=False), axis=axis(y_format))

    y = at("value")
    band = base.mark_area(opacity=0.22).encode(y=at("ci_low"), y2=alt.Y2("ci_high:Q"))
    # The order is not on the area: there it splits it into slivers of no width.
    line = base.mark_line(strokeWidth=2.5).encode(y=y, order=alt.Order("x:Q"))
    points = base.mark_point(filled=True, size=55, opacity=1).encode(y=y)
    truth = base.transform_filter("isValid(datum.truth)").mark_point(
        shape="diamond", filled=True, size=60, color=TRUTH, opacity=0.9
    )
    truth = truth.encode(y=alt.Y("truth:Q"), color=alt.value(TRUTH))
    ring = base.transform_filter(alt.datum.chosen).mark_point(size=380, strokeWidth=3, opacity=1).encode(y=y)
    marks = [band, line, points, truth, ring]
    if zero_line:
        marks = [zero("y"), *marks]
    if break_even_ms is not None:
        marks += _break_even(break_even_ms, ink)
    if budget:
        # Of the rows, as the ring is: a number in the chart itself would make another chart of it.
        chosen = alt.Chart(rows).transform_filter(alt.datum.chosen)
        once = chosen.transform_aggregate(x="min(x)", groupby=["budget"])
        marks = [*_budget_marks(once, ink, alt.X("x:Q", title=x_title), text=alt.Text("budget:N")), *marks]
    return layers(*marks).properties(height=340)


def _break_even(budget_ms: float, ink: str) -> list[alt.Chart]:
    at = {"x": alt.datum(budget_ms), "y": alt.datum(0)}
    cross = alt.Chart().mark_point(shape="cross", size=160, filled=True, color=ink, opacity=1)
    said = alt.Chart().mark_text(
        color=ink, align="left", dx=10, dy=12, text=f"break-even {numbers.ms(budget_ms)}"
    )
    return [cross.encode(**at), said.encode(**at)]


def by_day(rows: Rows, *, label: str, reach: float | None) -> alt.LayerChart:
    """How estimate and truth of a lift grew day by day, with the estimate's interval where it has one.

    Args:
        rows: day, which (ESTIMATE_LINE or TRUE), lift, low, high (null where there is no interval).
        label: of the metric.
        reach: of `reach_of` these.
    """
    percent = axis("+.1~%")
    title = f"{label}: lift so far"
    base = alt.Chart(rows).encode(
        x=alt.X("day:O", title="Day of the experiment", axis=alt.Axis(labelAngle=0)),
        color=colours("which", (ESTIMATE_LINE, TRUE), (CONTROL, TRUTH), columns=1, symbolOpacity=1),
        tooltip=[
            alt.Tooltip("day:O"),
            alt.Tooltip("which:N"),
            *(alt.Tooltip(f"{name}:Q", format="+.2%") for name in ("lift", "low", "high")),
        ],
    )
    line = base.mark_line(point=True, strokeWidth=2.5, clip=True)
    if reach is None:
        return layers(line.encode(y=alt.Y("lift:Q", title=title, axis=percent))).properties(height=260)
    ends = alt.Scale(domain=[-reach, reach], nice=False)
    band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.25, clip=True)
    return layers(
        band.encode(y=alt.Y("low:Q", title=title, axis=percent, scale=ends), y2=alt.Y2("high:Q")),
        line.encode(y=alt.Y("lift:Q", title=title, axis=percent, scale=ends)),
    ).properties(height=300)


def reach_of(rows: pd.DataFrame) -> float | None:
    """How far the axis of `by_day` goes: twice as far as the last day's band; None where there is no band.

    By the first day's band, all that follows would be one line.
    """
    known = rows.dropna(subset=["low"])
    if known.empty:
        return None
    last = known[known["day"] == known["day"].max()]
    return float(2 * max(abs(last["low"].min()), abs(last["high"].max())))


def mde(rows: Rows, *, true_lift: float | None, ink: str) -> alt.LayerChart:
    """The smallest detectable lift over the requests of an experiment, with the true lift as a line.

    Args:
        rows: requests, mde, own (whether it is this run).
        true_lift: its size is drawn; None where it is unknown.
        ink: of the line.
    """
    log = alt.Scale(type="log", nice=False)
    base = alt.Chart(rows).encode(
        x=alt.X("requests:Q", title="Requests of the experiment (log scale)", scale=log, axis=log_axis("~s")),
        y=alt.Y("mde:Q", title="Detectable lift (log scale)", scale=log, axis=log_axis(".1~%")),
        tooltip=[alt.Tooltip("requests:Q", format=","), alt.Tooltip("mde:Q", format=".1%", title="MDE")],
    )
    ring = base.transform_filter(alt.datum.own).mark_point(size=200, strokeWidth=3, color=CONTROL, opacity=1)
    marks = [base.mark_line(strokeWidth=2.5, color=CONTROL), ring]
    if true_lift:
        line = alt.Chart().mark_rule(color=TRUTH, strokeWidth=2, strokeDash=[6, 4])
        words = alt.Chart().mark_text(
            color=ink, align="left", dx=4, dy=-8, text=f"true {numbers.lift(true_lift)}"
        )
        at = alt.datum(abs(true_lift))
        marks += [line.encode(y=at), words.encode(y=at, x=alt.value(0))]
    return layers(*marks).properties(height=300)


def budget_line(budget_ms: float | None, ink: str) -> list[alt.Chart]:
    """The latency budget as a line with words; nothing where there is none."""
    if budget_ms is None:
        return []
    words = alt.value(budget_words(budget_ms))
    return _budget_marks(alt.Chart(), ink, alt.datum(budget_ms), text=words)


def budget_words(budget_ms: float) -> str:
    """What stands beside that line."""
    return f"budget {numbers.ms(budget_ms)}"


def _budget_marks(base: alt.Chart, ink: str, x: Any, text: Any) -> list[alt.Chart]:
    line = base.mark_rule(color=BUDGET, strokeWidth=2, strokeDash=[6, 4])
    words = base.mark_text(color=ink, align="left", dx=6, dy=8, fontWeight="bold")
    return [line.encode(x=x), words.encode(x=x, y=alt.value(0), text=text)]


def axis(form: str, **others: Any) -> alt.Axis:
    """An axis with a pale grid, of numbers in a form; where percents have a sign, zero has none."""
    if form.startswith("+") and form.endswith("%"):
        others["labelExpr"] = "datum.value == 0 ? '0%' : datum.label"
    return alt.Axis(format=form, gridColor=NEUTRAL, gridOpacity=0.25, **others)


def log_axis(form: str) -> alt.Axis:
    """An axis of a logarithmic scale, with marks at 1, 2, 5, 10, 20 and so on: Vega's own are uneven."""
    return axis(form, values=[float(f"{digit}e{power}") for power in range(-6, 13) for digit in (1, 2, 5)])


def ms_axis(least: float = 0) -> alt.Axis:
    """An axis of milliseconds or other plain numbers, with so much between two marks at least."""
    return axis("~r", tickCount=6, tickMinStep=least)


def colours(column: str, names: Sequence[str], hues: Sequence[str], **legend: Any) -> alt.Color:
    """A colour for each name of a column, and what they mean above the chart, three in a line by default."""
    scale = alt.Scale(domain=list(names), range=list(hues))
    return alt.Color(
        f"{column}:N", scale=scale, title=None, legend=alt.Legend(orient="top", **{"columns": 3, **legend})
    )


def zero(of: str) -> alt.Chart:
    """A line at zero of the axis "x" or "y"."""
    line: alt.Chart = alt.Chart().mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(**{of: alt.datum(0)})
    return line


def layers(*marks: alt.Chart) -> alt.LayerChart:
    """Marks on each other, the last one on top."""
    layered = alt.layer(*marks)
    assert isinstance(layered, alt.LayerChart)
    return layered
