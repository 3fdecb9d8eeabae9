"""Charts onto the page, in colours of text that are read on its background."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache

import altair as alt
import pandas as pd
import streamlit as st
from altair.utils.schemapi import debug_mode
from streamlit.delta_generator import DeltaGenerator

from dashboard import charts
from dashboard.palette import INK_ON_DARK, INK_ON_LIGHT
from simulator.results.scorecard import Effect

Chart = alt.Chart | alt.LayerChart
_ROWS = "rows"  # the name of every chart's data


def ink() -> str:
    """The colour of text in charts: at least 4.5 to 1 on the background that the reader has."""
    return INK_ON_DARK if st.context.theme.type == "dark" else INK_ON_LIGHT


def chart(
    make: Callable[..., Chart],
    rows: pd.DataFrame,
    alt_text: str,
    to: DeltaGenerator | None = None,
    **options: Hashable,
) -> None:
    """Draw a chart over the width of its place.

    What stays the same about it is made once: Altair takes longer to make a chart than the rest of a page
    does, and the browser as long to build a new one. Where it differs from the last in its rows alone, the
    browser moves the marks.

    Args:
        make: makes the chart of its rows, which may be a name in their place, and of the options.
        rows: its data.
        alt_text: what it shows, in words, for those who do not see it.
        to: the column it goes to; the page by default.
        options: all else that the chart depends on.
    """
    spec = json.loads(_spec(make, tuple(sorted(options.items())), ink()))
    place = st if to is None else to
    place.vega_lite_chart(spec={**spec, "datasets": {_ROWS: rows}}, width="stretch", alt=alt_text)


def lifts(
    effects: Sequence[Effect], alt_text: str, *, labels: Sequence[str] | None = None, legend: bool = True
) -> None:
    """Draw the lifts of effects with their intervals, and the truth beside them.

    Args:
        effects: in the order of the chart.
        alt_text: as in `chart`.
        labels: of each; its metric's by default.
        legend: whether to say what the marks are.
    """
    rows = charts.lift_rows(effects, labels)
    there, order = charts.marks_of(rows), tuple(rows["label"])
    chart(charts.lifts, rows, alt_text, labels=order, marks=there, legend=legend)


@lru_cache(maxsize=256)
def _spec(make: Callable[..., Chart], options: tuple[tuple[str, Hashable], ...], ink: str) -> str:
    # Altair checks each part of a chart against its schema, and then the whole, for nine tenths of its time.
    # What is checked here would be our own mistake: the tests check every chart of every page.
    with debug_mode(False):
        spec = _styled(make(alt.NamedData(_ROWS), **dict(options)), ink).to_dict(validate=False)
    spec["config"].pop("view", None)  # a size of Altair's own theme; the page has its own
    # Altair gives a mark without data, such as a line at zero, a dataset of one empty row. Rows are all that
    # is sent, so it stands where it is used.
    if spec.pop("datasets", None):
        for layer in spec["layer"]:
            if layer.get("data", {}).get("name") == "empty":
                layer["data"] = {"values": [{}]}
    return json.dumps(spec)


def _styled(chart: Chart, colour: str) -> Chart:
    axes = chart.configure_axis(labelColor=colour, titleColor=colour)
    shown: Chart = axes.configure_legend(labelColor=colour, titleColor=colour, labelLimit=0)
    # The words are the picture's name. In SVG each of its marks would be one too, many without a name.
    shown.usermeta = {"embedOptions": {"renderer": "canvas"}}
    return shown
