"""The Streamlit dashboard: reads run and sweep folders through `simulator.results` alone."""
