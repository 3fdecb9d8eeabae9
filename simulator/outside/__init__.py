"""A table of one's own, from any A/B test: read, checked, and judged by the same statistics.

Start at `analyze.py`.
"""
