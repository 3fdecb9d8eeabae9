"""The script Streamlit runs: pages, the picker in the sidebar, and a net for what goes wrong."""

from __future__ import annotations

import logging

import streamlit as st

from dashboard import states
from dashboard.folders import pick_run, pick_sweep
from simulator.results.errors import ResultsError

# An emoji: a Material icon would be fetched from a font host.
st.set_page_config(page_title="LASER A/B", page_icon="⚖️", layout="wide")

WHAT_IF = st.Page("app_pages/what_if.py", title="What-if")
page = st.navigation(
    [
        st.Page("app_pages/scorecard.py", title="Scorecard", default=True),
        st.Page("app_pages/latency.py", title="Latency"),
        WHAT_IF,
    ]
)

try:
    if page == WHAT_IF:
        pick_sweep()
    else:
        pick_run()
    page.run()
except ResultsError as error:
    states.problem(error)
except Exception:
    # The details are for the terminal; the page has only what its reader can act on.
    logging.getLogger(__name__).exception("The page %s failed", page.title)
    st.error("This page could not be drawn. The terminal that runs the dashboard shows why.")
