"""A run's effects taken apart: by day, as one would have watched them, and by segment.

Start at `whole.py`.
"""
