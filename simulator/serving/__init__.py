"""The timing plane: store workers, batcher, scorers, deadline, ladder.

Start at `pipeline.py`; `arm.py` has what an arm serves with.
"""
