"""The statistics: how often intervals, tests and verdicts are wrong, and how fast they are.

Start at `coverage.py`.
"""
