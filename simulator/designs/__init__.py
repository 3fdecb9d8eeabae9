"""Designs: how an A/B test is laid out, each judged on the same market by the same truth.

Start at `compare.py`.
"""
