"""The Streamlit dashboard: reads run and sweep folders through `simulator.results` alone.

Start at `app.py`, the script that Streamlit runs; `launch.py` starts it, `app_pages/` has its pages.
"""
