"""Metrics and inference: from per-user aggregates to the scorecard.

Start at `scorecard.py`, then `log_ratio.py`.
"""
