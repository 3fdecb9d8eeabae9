"""Scoring: a trained model on a device, behind one call; in fixed shapes, where each request keeps its bits.

Start at `runtime.py`, then `buckets.py`.
"""
