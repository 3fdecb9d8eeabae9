"""Kernels of a read: from users and bounds to rows, over the index of blocks and the tails in DRAM.

Start at `read.py`. Importing one imports numba.
"""
