"""What-if sweeps: one experiment under a grid of latency budgets.

Start at `sweep.py`.
"""
