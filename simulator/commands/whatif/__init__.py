"""The commands that ask what if: sweeps over settings, and finished runs asked again.

Start at `sweep.py`.
"""
