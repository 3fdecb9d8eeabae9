"""Heads: what a candidate's own features and the attended history make together, a logit each.

Start at `build.py`.
"""
