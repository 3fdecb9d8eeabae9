"""An arm's store, filled with the world's behaviours, and what requests find there.

Start at `replayed.py`, which follows the trace, and `loaded.py`, which holds all of it at once.
"""
