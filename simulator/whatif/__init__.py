"""What-if sweeps: one experiment in every cell of its axes, which are settings of the file.

Start at `sweep.py`.
"""
