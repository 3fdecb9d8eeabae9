"""What if: an experiment in every cell of a grid of its settings, or a finished run asked again.

Start at `sweep.py`.
"""
