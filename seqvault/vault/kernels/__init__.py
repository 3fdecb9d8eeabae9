"""Compiled kernels, twins of the numpy in `format/`, `log/` and `reading/`. Importing one imports numba.

Start at `compiled.py` (how a kernel is made), then `read.py`.
"""
