"""The pages of the dashboard, one file each.

Start at `scorecard.py`; `app.py` one level up lists them.
"""
