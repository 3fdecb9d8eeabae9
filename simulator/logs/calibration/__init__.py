"""A log put to the test: a fit judged on other days, a world that resembles it, another policy's value.

Start at `calibrate.py`.
"""
