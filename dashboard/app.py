"""The script Streamlit runs: pages, the picker in the sidebar, and a net for what goes wrong."""

from __future__ import annotations

import logging

import streamlit as st

from dashboard import states
from dashboard.folders import itself, look, pick
from dashboard.palette import DARK, NEUTRAL, PAGE_ON_DARK
from dashboard.work.places import admitted
from simulator.results.errors import ResultsError

# An emoji: a Material icon would be fetched from a font host.
st.set_page_config(page_title="LASER A/B", page_icon="⚖️", layout="wide")

# Streamlit writes white on what was chosen of several; on the accent that dark needs, that is 2.3 to 1. The
# browser tells light from dark: the server learns it only after the page was drawn.
CHOSEN = "[data-testid='stMultiSelectTagsContainer'] [data-tag] *"
# A table wider than its place is scrolled, which a telephone shows only while one does: a shadow stands at an
# edge behind which there is more. What covers it at the table's ends, in the page's colour, is scrolled too.
TABLE = "[data-testid='stTable']"
EDGES = ", ".join(
    f"linear-gradient(to {side}, {colour}, transparent) {at} / {width} 100% no-repeat {moves}"
    for colour, width, moves in (
        (f"light-dark(white, {PAGE_ON_DARK}) 40%", "3rem", "local"),
        (f"{NEUTRAL}80", ".7rem", "scroll"),
    )
    for side, at in (("right", "left"), ("left", "right"))
)
st.html(
    f"<style>{CHOSEN} {{color: light-dark(white, {DARK})}} {TABLE} > div {{background: {EDGES}}} "
    f"@media (max-width: 640px) {{{TABLE} :is(td, th) * {{white-space: nowrap !important}}}}</style>"
)

# The address has the token once; other pages of the same session are then open.
st.session_state["token"] = st.query_params.get("token") or st.session_state.get("token")
if not admitted(st.session_state["token"]):
    st.error("This dashboard needs its token: open the address that it printed where it was started.")
    st.stop()
look()
# Whoever opens one run or one sweep wants to see that.
alone = itself()
RUNS = st.Page("app_pages/runs.py", title="Runs", default=alone is None)
SCORECARD = st.Page("app_pages/scorecard.py", title="Scorecard", default=alone == "run")
LATENCY = st.Page("app_pages/latency.py", title="Latency")
HEALTH = st.Page("app_pages/health.py", title="Health")
TRUTH = st.Page("app_pages/truth.py", title="Truth")
WHAT_IF = st.Page("app_pages/what_if.py", title="What-if", default=alone == "sweep")
SIMULATE = st.Page("app_pages/simulate.py", title="Simulate")
MEASURED = st.Page("app_pages/measured.py", title="Models and stores")
COMPARE = st.Page("app_pages/compare.py", title="Compare")
START = st.Page("app_pages/start.py", title="Start")
# Page -> whose results it shows, which the sidebar lets one choose.
ABOUT = (
    *((each, "run") for each in (SCORECARD, LATENCY, HEALTH, TRUTH, SIMULATE, MEASURED)),
    (WHAT_IF, "sweep"),
)
page = st.navigation([RUNS, SCORECARD, LATENCY, HEALTH, TRUTH, WHAT_IF, SIMULATE, COMPARE, MEASURED, START])

try:
    if kind := next((kind for about, kind in ABOUT if about == page), None):
        pick(kind)
    page.run()
except ResultsError as error:
    states.problem(error)
except Exception:
    # The details are for the terminal; the page has only what its reader can act on.
    logging.getLogger(__name__).exception("The page %s failed", page.title)
    st.error("This page could not be drawn. The terminal that runs the dashboard shows why.")
