"""The certificate: vectors and calibrations of what the simulator claims, run on demand.

Start at `rows.py`.
"""
