"""The timing plane: store workers, batcher, scorers, deadline, policies.

Start at `pipeline.py`; `arm.py` has what an arm serves with, `policy.py` who is served when.
"""
