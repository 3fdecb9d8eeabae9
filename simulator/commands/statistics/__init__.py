"""The commands of the statistics alone: tables of one's own, planning, checks of the intervals.

Start at `analyze.py`.
"""
