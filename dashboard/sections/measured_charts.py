"""Charts of what was measured: service times, quality against cost, stores. Rows in, Altair out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from dashboard.charts import Rows, axis, colours, layers, log_axis
from dashboard.palette import CONTROL, NEUTRAL, TREATMENT

# As many models and engines as there are: told apart by colour and, for those who see none, by a shape.
SERIES = (
    "#3B8BD0",
    "#F08A24",
    "#2BA88C",
    "#D16BA5",
    "#A3A33A",
    "#7A86E0",
    "#B07CE0",
    "#E5484D",
    "#8B919A",
    "#5AA9A3",
)

LOG = alt.Scale(type="log", nice=False, padding=20)


def times(
    rows: Rows, *, series: Sequence[str], x_title: str, y_title: str, words: Sequence[str] | None = None
) -> alt.Chart:
    """Times over a number of behaviours, a line for each series, both axes logarithmic.

    Args:
        rows: series, x, ms, text.
        series: their names, in order.
        x_title, y_title: of the axes.
        words: the values of x in their order, where they are words; None where they are numbers.
    """
    x = (
        alt.X("x:O", title=x_title, sort=list(words), axis=alt.Axis(labelAngle=0))
        if words is not None
        else alt.X("x:Q", title=x_title, axis=log_axis("~s"), scale=LOG)
    )
    # The legend's lines are taken from the height.
    legend_lines = math.ceil(len(series) / _columns(series))
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_line(point=alt.OverlayMarkDef(size=60), strokeWidth=2.5)
        .encode(
            x=x,
            y=alt.Y("ms:Q", title=y_title, axis=log_axis("~r"), scale=LOG),
            color=_series(series),
            shape=alt.Shape("series:N", legend=None, sort=list(series)),
            tooltip=[
                alt.Tooltip("series:N"),
                alt.Tooltip("x:Q" if words is None else "x:O"),
                alt.Tooltip("text:N"),
            ],
        )
        .properties(height=310 + 30 * legend_lines)
    )  # fmt: skip
    return chart


def quality(rows: Rows, *, x_title: str, base: str, ink: str) -> alt.LayerChart:
    """Models by cost and lead; those that no other beats in both are drawn full and joined.

    Args:
        rows: name, x, lead, low, high (null where there is no interval), front.
        x_title: of the cost.
        base: the model that leads are over.
        ink: of the names.
    """
    base_chart = alt.Chart(rows).encode(
        x=alt.X("x:Q", title=x_title, axis=log_axis("~g"), scale=LOG),
        tooltip=[
            alt.Tooltip("name:N"),
            alt.Tooltip("x:Q", format=".3~g"),
            alt.Tooltip("lead:Q", format="+.3f"),
            alt.Tooltip("front:N"),
        ],
    )
    title = f"Lead over {base}, points of AUC"
    y = alt.Y("lead:Q", title=title, axis=axis("+~g"))
    best = base_chart.transform_filter(alt.datum.front)
    line = best.mark_line(strokeWidth=2, color=TREATMENT, interpolate="step-after").encode(y=y)
    rule = base_chart.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.5, color=NEUTRAL)
    rule = rule.encode(y=alt.Y("low:Q", title=title), y2=alt.Y2("high:Q"))
    other = base_chart.transform_filter(f"!{alt.datum.front}").mark_point(size=90, color=CONTROL, opacity=1)
    full = best.mark_point(filled=True, size=110, color=TREATMENT, opacity=1).encode(y=y)
    words = base_chart.mark_text(align="left", dx=9, dy=-7, color=ink).encode(y=y, text=alt.Text("name:N"))
    return layers(line, rule, other.encode(y=y), full, words).properties(height=400)


def bars(rows: Rows, *, groups: Sequence[str], kinds: Sequence[str], title: str, ink: str) -> alt.LayerChart:
    """A number of each kind of each group, with the number beside its bar.

    Args:
        rows: group, kind, value, text.
        groups, kinds: their names, in order.
        title: of the axis.
        ink: of the numbers.
    """
    base = alt.Chart(rows).encode(
        y=alt.Y(
            "group:N",
            sort=list(groups),
            title=None,
            axis=alt.Axis(labelLimit=200, minExtent=100),
        ),
        yOffset=alt.YOffset("kind:N", sort=list(kinds)),
        tooltip=[alt.Tooltip(f"{name}:N") for name in ("group", "kind", "text")],
    )
    bar = base.mark_bar().encode(
        x=alt.X("value:Q", title=title, axis=axis("~s")), color=_series(kinds, "kind")
    )
    text = base.mark_text(align="left", dx=4, color=ink).encode(
        x=alt.X("value:Q", title=title), text=alt.Text("text:N")
    )
    return layers(bar, text).properties(height=alt.Step(16, **{"for": "offset"}))


def _series(names: Sequence[str], column: str = "series") -> alt.Color:
    hues = [SERIES[number % len(SERIES)] for number in range(len(names))]
    return colours(column, names, hues, columns=_columns(names))


def _columns(names: Sequence[str]) -> int:
    """Of a legend: on a telephone there is room for three short names, or for one long one."""
    longest = max(map(len, names), default=0)
    return 3 if longest < 11 else 2 if longest < 19 else 1
