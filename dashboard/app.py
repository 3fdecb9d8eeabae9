"""The script Streamlit runs: pages, the picker in the sidebar, and a net for what goes wrong."""

from __future__ import annotations

import logging

import streamlit as st

from dashboard import states
from dashboard.folders import is_sweep, pick
from simulator.results.errors import ResultsError

# An emoji: a Material icon would be fetched from a font host.
st.set_page_config(page_title="LASER A/B", page_icon="⚖️", layout="wide")

# Whoever opens a sweep wants to see that.
sweep_only = is_sweep()
WHAT_IF = st.Page("app_pages/what_if.py", title="What-if", default=sweep_only)
page = st.navigation(
    [
        st.Page("app_pages/scorecard.py", title="Scorecard", default=not sweep_only),
        st.Page("app_pages/latency.py", title="Latency"),
        WHAT_IF,
    ]
)

try:
    pick("sweep" if page == WHAT_IF else "run")
    page.run()
except ResultsError as error:
    states.problem(error)
except Exception:
    # The details are for the terminal; the page has only what its reader can act on.
    logging.getLogger(__name__).exception("The page %s failed", page.title)
    st.error("This page could not be drawn. The terminal that runs the dashboard shows why.")
