"""An arm at work: its clock, its store and models, its scores and its training.

Start at `arm.py`, then `plan.py` and `serve.py`.
"""
