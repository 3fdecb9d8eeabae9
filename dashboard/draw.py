"""Charts onto the page, in colours of text that are read on its background."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from functools import lru_cache

import altair as alt
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.palette import INK_ON_DARK, INK_ON_LIGHT

Chart = alt.Chart | alt.LayerChart
_ROWS = "rows"  # the name of a redrawn chart's data


def ink() -> str:
    """The colour of text in charts: at least 4.5 to 1 on the background that the reader has."""
    return INK_ON_DARK if st.context.theme.type == "dark" else INK_ON_LIGHT


def chart(chart: Chart, alt_text: str, to: DeltaGenerator | None = None) -> None:
    """Draw a chart over the width of its place.

    Args:
        chart: what to draw.
        alt_text: what it shows, in words, for those who do not see it.
        to: the column it goes to; the page by default.
    """
    (st if to is None else to).altair_chart(_styled(chart, ink()), width="stretch", alt=alt_text)


def redrawn(
    make: Callable[..., Chart],
    rows: pd.DataFrame,
    alt_text: str,
    to: DeltaGenerator | None = None,
    **options: Hashable,
) -> None:
    """Draw a chart that a slider moves: what stays the same about it is made once.

    Altair takes a tenth of a second to make and check a chart, and the browser as much to build a new one.
    Where it differs from the last in its rows alone, the browser moves the marks.

    Args:
        make: makes the chart of its rows, which may be a name in their place, and of the options.
        rows: its data.
        alt_text, to: as in `chart`.
        options: all else that the chart depends on.
    """
    spec = json.loads(_spec(make, tuple(sorted(options.items())), ink()))
    place = st if to is None else to
    place.vega_lite_chart(spec={**spec, "datasets": {_ROWS: rows}}, width="stretch", alt=alt_text)


@lru_cache(maxsize=256)
def _spec(make: Callable[..., Chart], options: tuple[tuple[str, Hashable], ...], ink: str) -> str:
    spec = _styled(make(alt.NamedData(_ROWS), **dict(options)), ink).to_dict()
    spec["config"].pop("view", None)  # a size of Altair's own theme; the page has its own
    return json.dumps(spec)


def _styled(chart: Chart, colour: str) -> Chart:
    axes = chart.configure_axis(labelColor=colour, titleColor=colour)
    shown: Chart = axes.configure_legend(labelColor=colour, titleColor=colour, labelLimit=0)
    # The words are the picture's name. In SVG each of its marks would be one too, many without a name.
    shown.usermeta = {"embedOptions": {"renderer": "canvas"}}
    return shown
