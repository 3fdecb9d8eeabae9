"""A log put to the test: a fit on some days judged on others, and a generated world that resembles it.

Start at `calibrate.py`.
"""
