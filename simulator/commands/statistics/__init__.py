"""The commands of the statistics: tables of one's own, planning, designs, checks of the intervals.

Start at `analyze.py`.
"""
