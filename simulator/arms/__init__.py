"""An arm at work: its clock, its store and models, its scores, its training and its measured service times.

Start at `arm.py`, then `plan.py` and `serve.py`.
"""
