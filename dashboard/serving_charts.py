"""Charts of serving: latency, stages, ladder steps and busy servers. Data frames in, Altair out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import altair as alt
import pandas as pd

from dashboard.charts import Rows, axis, budget_line, colours, layers, log_axis, ms_axis
from dashboard.palette import DARK, GOOD_TO_BAD, NEUTRAL, PART_COLOURS, arm_colours
from simulator.results import numbers
from simulator.results.bottleneck import PARTS


def distribution(
    rows: Rows, *, arms: Sequence[str], budget_ms: float | None, ink: str, cumulative: bool
) -> alt.LayerChart:
    """Latency as a histogram or a CDF on a logarithmic axis, with the budget line; `ink` colours text."""
    scale = alt.Scale(type="log", nice=False)
    column, title = (
        ("cumulative", "Share of requests done by then") if cumulative else ("share", "Share of requests")
    )
    edge = "high_ms:Q" if cumulative else "low_ms:Q"
    tooltip = [
        alt.Tooltip("arm:N"),
        alt.Tooltip("low_ms:Q", format=".3~g", title="from (ms)"),
        alt.Tooltip("high_ms:Q", format=".3~g", title="to (ms)"),
        alt.Tooltip(f"{column}:Q", format=".2%", title="share"),
    ]
    base = alt.Chart(rows).encode(
        x=alt.X(edge, scale=scale, axis=log_axis("~r"), title="Latency (ms, log scale)"),
        y=alt.Y(f"{column}:Q", axis=axis("~%"), title=title, stack=None),
        color=colours("arm", arms, arm_colours(arms)),
    )
    marks: list[alt.Chart] = [
        base.mark_line(interpolate="step-before", strokeWidth=2.5).encode(tooltip=tooltip)
        if cumulative
        # Of more than two arms the areas would hide each other.
        else base.mark_area(interpolate="step-after", opacity=0.45, line=True).encode(tooltip=tooltip)
        if len(arms) < 3
        else base.mark_line(interpolate="step-after", strokeWidth=2).encode(tooltip=tooltip)
    ]
    return layers(*marks, *budget_line(budget_ms, ink)).properties(height=340)


def stage_rows(stages: pd.DataFrame, colour: str) -> pd.DataFrame:
    """The rows of `waterfall` and `stage_p99`: waiting is grey, work has the arm's colour.

    Args:
        stages: of one arm or request: stage, waiting, start_ms, end_ms, mean_ms, p99_ms.
        colour: the arm's.
    """
    return stages.assign(
        zero=0.0,
        colour=[NEUTRAL if waiting else colour for waiting in stages["waiting"]],
        mean_text=_printed(stages["mean_ms"]),
        p99_text=_printed(stages["p99_ms"]),
    )


def waterfall(rows: Rows, *, title: str, end_ms: float, ink: str) -> alt.LayerChart:
    """A request's stages one after the other.

    Args:
        rows: of `stage_rows`.
        title: of the axis.
        end_ms: of the axis, shared by several.
        ink: of the text.
    """
    return _stage_bars(rows, ("start_ms", "end_ms", "mean_text"), f"{title} (ms)", end_ms, ink)


def stage_p99(rows: Rows, *, title: str, end_ms: float, ink: str) -> alt.LayerChart:
    """Each stage's own P99 in one arm; these do not add up to the P99 of the whole. As `waterfall`."""
    return _stage_bars(rows, ("zero", "p99_ms", "p99_text"), f"{title} (ms)", end_ms, ink)


def _printed(times_ms: Iterable[float]) -> list[str]:
    return ["< 0.001 ms" if 0 < ms < 0.001 else numbers.ms(ms) for ms in times_ms]


def _stage_bars(
    rows: Rows, columns: tuple[str, str, str], title: str, end_ms: float, ink: str
) -> alt.LayerChart:
    """Bars from the first column to the second, labelled with the third; arms share the axis' end."""
    start, end, label = columns
    scale = alt.Scale(domain=[0, 1.15 * end_ms], nice=False)  # room for the last label
    base = alt.Chart(rows).encode(
        y=alt.Y("stage:N", sort=None, title=None, axis=alt.Axis(minExtent=80)),
        tooltip=[
            alt.Tooltip("stage:N"),
            alt.Tooltip("mean_ms:Q", format=".3~f", title="mean (ms)"),
            alt.Tooltip("p99_ms:Q", format=".3~f", title="P99 (ms)"),
        ],
    )
    bar = base.mark_bar(height=18).encode(
        x=alt.X(f"{start}:Q", title=title, axis=ms_axis(), scale=scale),
        x2=alt.X2(f"{end}:Q"),
        color=alt.Color("colour:N", scale=None),
    )
    text = base.mark_text(align="left", dx=5, color=ink).encode(
        x=alt.X(f"{end}:Q", title=title, scale=scale), text=alt.Text(f"{label}:N")
    )
    return layers(bar, text).properties(height=alt.Step(30))


def heat(rows: Rows, *, budget_ms: float | None) -> alt.LayerChart:
    """One arm's latencies by hour of the day, with the budget line; `hour_load` stands below it."""
    log = alt.Scale(type="log", nice=False)
    cells = (
        alt.Chart(rows)
        .mark_rect()
        .encode(
            x=_hours(title=None),
            y=alt.Y("low_ms:Q", scale=log, title="Latency (ms)", axis=_even(log_axis("~r"))),
            y2=alt.Y2("high_ms:Q"),
            color=alt.Color(
                "share:Q",
                scale=alt.Scale(scheme="viridis"),
                title="Share of the hour's requests",
                legend=alt.Legend(format="~%", orient="top", gradientLength=200),
            ),
            tooltip=[
                alt.Tooltip("hour:O", title="hour"),
                alt.Tooltip("low_ms:Q", format=".3~g", title="from (ms)"),
                alt.Tooltip("high_ms:Q", format=".3~g", title="to (ms)"),
                alt.Tooltip("share:Q", format=".1%", title="of the hour's requests"),
            ],
        )
    )
    # Dark on white: the cells are anything from dark purple to yellow, on either background.
    marks = [cells]
    if budget_ms is not None:
        for colour, dashes in (("white", [1, 0]), (DARK, [6, 4])):
            line = alt.Chart().mark_rule(color=colour, strokeWidth=2.5, strokeDash=dashes)
            marks.append(line.encode(y=alt.datum(budget_ms)))
    return layers(*marks).properties(height=280)


def hour_load(rows: Rows) -> alt.Chart:
    """How many requests came in each hour of the day: a row of `heat` for each."""
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar(color=NEUTRAL)
        .encode(
            x=_hours(title="Hour of the day"),
            y=alt.Y("requests:Q", title="Requests", axis=_even(axis("~s", tickCount=2))),
            tooltip=[alt.Tooltip("hour:O"), alt.Tooltip("requests:Q", format=",")],
        )
        .properties(height=150)
    )
    return chart


def _hours(title: str | None) -> alt.X:
    return alt.X("hour:O", title=title, axis=alt.Axis(labelAngle=0, labelOverlap=True))


def _even(own: alt.Axis) -> alt.Axis:
    """An axis as wide as its neighbour's, so that the hours of both charts stand below each other."""
    own["minExtent"] = own["maxExtent"] = 50
    return own


def ladder(rows: Rows, *, names: Sequence[str]) -> alt.Chart:
    """The share of each arm's requests served by each ladder step; names are the steps', best first."""
    colours = [GOOD_TO_BAD[min(i, len(GOOD_TO_BAD) - 1)] for i in range(len(names))]
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar(height=30)
        .encode(
            y=alt.Y("arm:N", sort=None, title=None),
            x=alt.X("share:Q", stack="zero", axis=alt.Axis(format="~%"), title="Share of requests"),
            order=alt.Order("step:Q"),
            color=alt.Color(
                "step_name:N",
                scale=alt.Scale(domain=list(names), range=colours),
                title="Ladder step",
                legend=alt.Legend(orient="top", columns=3),
            ),
            tooltip=[
                alt.Tooltip("arm:N"),
                alt.Tooltip("step_name:N", title="step"),
                alt.Tooltip("share:Q", format=".2%"),
                alt.Tooltip("missed_share:Q", format=".2%", title="of these missed"),
                alt.Tooltip("requests:Q", format=","),
            ],
        )
        .properties(height=alt.Step(46))
    )
    return chart


def busy(rows: Rows, *, parts: Sequence[str]) -> alt.Chart:
    """How busy each arm's servers are, by the work they do, its parts; full width is always."""
    percent = axis("~%", tickCount=5)
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar(height=20)
        .encode(
            y=alt.Y("server:N", sort=None, title=None, axis=alt.Axis(minExtent=140, labelLimit=220)),
            x=alt.X("share:Q", scale=alt.Scale(domain=[0, 1]), axis=percent, title="Share of the time busy"),
            color=_part_colour(parts),
            tooltip=[
                alt.Tooltip("server:N"),
                alt.Tooltip("part:N"),
                alt.Tooltip("share:Q", format=".1%", title="of the time"),
            ],
        )
        .properties(height=alt.Step(34))
    )
    return chart


def p99_parts(rows: Rows) -> alt.Chart:
    """What the time of each arm's requests about the P99 is spent on."""
    percent = alt.Axis(format="~%", grid=False, tickCount=5)  # a grid would show through the paler parts
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar(height=30)
        .encode(
            y=alt.Y("arm:N", sort=None, title=None, axis=alt.Axis(minExtent=80)),
            x=alt.X(
                "share:Q",
                stack="zero",
                scale=alt.Scale(domain=[0, 1]),
                axis=percent,
                title="Share of P99 latency",
            ),
            order=alt.Order("order:Q"),
            color=_part_colour(list(PARTS.values())),
            tooltip=[alt.Tooltip("arm:N"), alt.Tooltip("part:N"), alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=alt.Step(68))
    )
    return chart


def _part_colour(parts: Sequence[str]) -> alt.Color:
    """The colours of some parts; the same part has the same colour in every chart."""
    pairs = [pair for pair in zip(PARTS.values(), PART_COLOURS, strict=True) if pair[0] in parts]
    return colours(
        "part",
        [name for name, _ in pairs],
        [colour for _, colour in pairs],
        columns=2,
        columnPadding=2,  # else a telephone cuts the longest of them
    )
