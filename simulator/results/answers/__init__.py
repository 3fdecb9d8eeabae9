"""Answers: what a sweep says to who must decide, each with its error over users and its truth.

Start at `build.py`.
"""
