"""The certificate: how often intervals and tests of this kind were measured to be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.draw import chart
from dashboard.sections import apart_charts
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.certificate import certificate, measured
from simulator.results.read import Run
from simulator.results.scorecard import effects


def section(run: Run, card: Mapping[str, Any], arm: str) -> None:
    """What was measured of this scorecard's kinds of intervals, and every row it comes from."""
    for sentence in certificate(effect.method for effect in effects(card)):
        st.write(plain(sentence))
    rows = pd.DataFrame(measured())
    parts = list(dict.fromkeys(rows["part"]))
    part = st.selectbox("Measured", parts, key="certificate", bind="query-params")
    own = rows[rows["part"] == part]
    names = {what: _label(str(what)) for what in own["what"]}
    own = own.assign(what=own["what"].map(names))
    words = "; ".join(f"{row.what} {numbers.percent(row.value)}" for row in own.itertuples())
    rows = apart_charts.with_ends(own.rename(columns={"low": "least", "high": "most"}))
    anything = (rows["least"] <= 0) & (rows["most"] >= 1)  # nothing is asked of it
    rows = rows.assign(**{end: rows[end].mask(anything) for end in ("least", "most")})
    chart(apart_charts.certificate, rows, f"{part}: {words}", names=tuple(own["what"]))
    short = own[(own["value"] < own["low"]) | (own["value"] > own["high"])]
    said = f" Outside of it: {', '.join(short['what'])}." if len(short) else ""
    fewest, most = (numbers.count(end) for end in (own["experiments"].min(), own["experiments"].max()))
    each = most if fewest == most else f"{fewest} to {most}"
    asked = "Grey is what is asked, the" if rows["least"].notna().any() else "The"
    st.caption(
        f"Of {each} simulated experiments each, whose truth is known. "
        f"{asked} bars are two standard errors of the measurement.{said} Measure again "
        "with laser-ab validate inference."
    )


def _label(what: str) -> str:
    """What was measured, in words: a metric, and of which traces."""
    metric, comma, traces = what.partition(",")
    return numbers.metric_form(metric).label + comma + traces.replace(" %", "%")
