"""The Streamlit dashboard: reads run and sweep folders through `simulator.results` alone.

`launch.py` starts it, `app.py` is the script Streamlit runs, `app_pages/` holds a file a page.
"""
