"""The run itself: from a configuration to tables and a scorecard.

Start at `run.py`; a run is a sweep of one cell.
"""
