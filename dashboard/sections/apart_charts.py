"""Charts of effects taken apart, of designs and of peeking: rows in, Altair out."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from dashboard.charts import Rows, axis, colours, layers, ms_axis, zero
from dashboard.palette import BUDGET, CONTROL, NEUTRAL, TREATMENT, arm_colours

SIGNED = "+.2~%"
BIAS, INTERFERENCE = "Bias", "Interference"
_GREEN = "#2BA88C"
RULE_COLOURS = {"fixed": BUDGET, "group-sequential": _GREEN, "always-valid": CONTROL}


def with_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of value and se with low and high: two standard errors to either side."""
    reach = 2 * rows["se"]
    return rows.assign(low=rows["value"] - reach, high=rows["value"] + reach)


def channels(rows: Rows, *, names: Sequence[str]) -> alt.LayerChart:
    """Parts of an effect as bars from zero, with two standard errors.

    Args:
        rows: channel, what, value, se, low, high, colour.
        names: of the channels, in order.
    """
    base = alt.Chart(rows).encode(
        y=alt.Y("channel:N", sort=list(names), title=None, axis=alt.Axis(minExtent=70)),
        tooltip=[
            alt.Tooltip("channel:N"),
            alt.Tooltip("what:N"),
            alt.Tooltip("value:Q", format=SIGNED),
            alt.Tooltip("se:Q", format=".2~%"),
        ],
    )
    title = "Part of the logarithm of treatment over control"
    bar = base.mark_bar(height=18).encode(
        x=alt.X("value:Q", title=title, axis=_signed()), color=alt.Color("colour:N", scale=None)
    )
    rule = base.mark_rule(strokeWidth=2.5, color=CONTROL).encode(
        x=alt.X("low:Q", title=title, axis=_signed()), x2=alt.X2("high:Q")
    )
    return layers(zero("x"), bar, rule).properties(height=alt.Step(34))


def designs(rows: Rows, *, names: Sequence[str]) -> alt.LayerChart:
    """Each design's bias, and what of it is interference, with two standard errors to either side.

    Args:
        rows: design, which (BIAS or INTERFERENCE), value, se, low, high.
        names: of the designs, in order.
    """
    title = "Log lift shown, minus the true one"
    base = alt.Chart(rows).encode(
        y=alt.Y("design:N", sort=list(names), title=None, axis=alt.Axis(labelLimit=160, minExtent=110)),
        yOffset=alt.YOffset("which:N", sort=[BIAS, INTERFERENCE]),
        color=colours("which", (BIAS, INTERFERENCE), (CONTROL, TREATMENT), columns=1),
        tooltip=[
            alt.Tooltip("design:N"),
            alt.Tooltip("which:N"),
            alt.Tooltip("value:Q", format=SIGNED),
            alt.Tooltip("se:Q", format=".2~%"),
        ],
    )
    rule = base.mark_rule(strokeWidth=3).encode(
        x=alt.X("low:Q", title=title, axis=_signed()), x2=alt.X2("high:Q")
    )
    point = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("value:Q", title=title, axis=_signed())
    )
    return layers(zero("x"), rule, point).properties(height=alt.Step(14, **{"for": "offset"}))


def certificate(rows: Rows, *, names: Sequence[str]) -> alt.LayerChart:
    """Shares as measured, with two standard errors, each over the bounds asked of it.

    Args:
        rows: what, value, se, low, high, and least and most, the bounds; null where there are none.
        names: what was measured, in order.
    """
    base = alt.Chart(rows).encode(
        y=alt.Y("what:N", sort=list(names), title=None, axis=alt.Axis(labelLimit=200, minExtent=130)),
        tooltip=[
            alt.Tooltip("what:N"),
            *(alt.Tooltip(f"{name}:Q", format=".2%") for name in ("value", "se", "least", "most")),
        ],
    )

    def x(column: str) -> alt.X:
        percent = axis(".1~%", tickCount=6)
        scale = alt.Scale(zero=False, padding=25)  # what is asked is not to fill the axis
        return alt.X(f"{column}:Q", title="Share of experiments", axis=percent, scale=scale)

    bounds = base.transform_filter("isValid(datum.least)").mark_bar(height=20, color=NEUTRAL, opacity=0.3)
    bounds = bounds.encode(x=x("least"), x2=alt.X2("most:Q"))
    rule = base.mark_rule(strokeWidth=3, color=CONTROL).encode(x=x("low"), x2=alt.X2("high:Q"))
    point = base.mark_point(filled=True, size=90, color=CONTROL, opacity=1).encode(x=x("value"))
    return layers(bounds, rule, point).properties(height=alt.Step(30))


def peeking(rows: Rows, *, level: float | None) -> alt.LayerChart:
    """The share of tests that called a difference by each look, by stopping rule.

    Args:
        rows: look, rule, called.
        level: the error that was planned, as a line; None where there is an effect to be found.
    """
    lines = (
        alt.Chart(rows)
        .mark_line(point=True, strokeWidth=2.5)
        .encode(
            x=alt.X("look:O", title="Look (one a day)", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("called:Q", title="Tests that called a difference by then", axis=axis(".0~%")),
            color=colours("rule", list(RULE_COLOURS), list(RULE_COLOURS.values())),
            tooltip=[alt.Tooltip("look:O"), alt.Tooltip("rule:N"), alt.Tooltip("called:Q", format=".1%")],
        )
    )
    marks = [lines]
    if level is not None:
        marks.append(
            alt.Chart()
            .mark_rule(color=NEUTRAL, strokeDash=[6, 4], strokeWidth=2)
            .encode(y=alt.datum(1 - level))
        )
    return layers(*marks).properties(height=280)


def fronts(rows: Rows, *, arms: Sequence[str], x_title: str) -> alt.LayerChart:
    """Settings by cost and true lift: filled are those that no other beats, ringed those that are chosen, and
    a square is about the cheapest.

    Args:
        rows: arm, setting, x, lift, p99_ms, cost, front, chosen, cheapest.
        arms: their names, control first.
        x_title: of the cost.
    """
    base = alt.Chart(rows).encode(
        x=alt.X("x:Q", title=x_title, axis=ms_axis(), scale=alt.Scale(zero=False, padding=20)),
        y=alt.Y("lift:Q", title="True lift", axis=_signed(), scale=alt.Scale(padding=20)),
        color=colours("arm", arms, arm_colours(arms)),
        tooltip=[
            alt.Tooltip("setting:N"),
            alt.Tooltip("lift:Q", format="+.2%"),
            alt.Tooltip("p99_ms:Q", format=".3~g", title="P99 (ms)"),
            alt.Tooltip("cost:Q", format=".4~g"),
        ],
    )
    beaten = base.transform_filter(~alt.datum.front).mark_point(size=80, opacity=0.8)
    best = base.transform_filter(alt.datum.front).mark_point(filled=True, size=130, opacity=1)
    ring = base.transform_filter(alt.datum.chosen).mark_point(size=330, strokeWidth=2.5, opacity=1)
    least = base.transform_filter(alt.datum.cheapest)
    square = least.mark_point(shape="square", size=620, strokeWidth=2.5, opacity=1)
    return layers(zero("y"), beaten, best, ring, square).properties(height=320)


def _signed() -> alt.Axis:
    return axis(SIGNED, tickCount=6)
