"""Designs of an A/B test, judged on one market by its truth; and that truth over worlds and trainings.

Start at `compare.py`.
"""
