"""Charts onto the page, in colours of text that are read on its background."""

from __future__ import annotations

import altair as alt
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.palette import INK_ON_DARK, INK_ON_LIGHT


def ink() -> str:
    """The colour of text in charts: at least 4.5 to 1 on the background that the reader has."""
    return INK_ON_DARK if st.context.theme.type == "dark" else INK_ON_LIGHT


def chart(chart: alt.Chart | alt.LayerChart, alt_text: str, to: DeltaGenerator | None = None) -> None:
    """Draw a chart over the width of its place.

    Args:
        chart: what to draw.
        alt_text: what it shows, in words, for those who do not see it.
        to: the column it goes to; the page by default.
    """
    colour = ink()
    axes = chart.configure_axis(labelColor=colour, titleColor=colour)
    shown = axes.configure_legend(labelColor=colour, titleColor=colour, labelLimit=0)
    # The words are the picture's name. In SVG each of its marks would be one too, many without a name.
    shown.usermeta = {"embedOptions": {"renderer": "canvas"}}
    (st if to is None else to).altair_chart(shown, width="stretch", alt=alt_text)
