"""How work is carried out: kept and resumed, interrupted, spread over processes, reported.

Start at `checkpoints.py` and `resume.py`.
"""
