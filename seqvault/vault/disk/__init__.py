"""Files: how they are named, written so that they survive, and found again.

Start at `files.py`, then `manifest.py` and `segment.py`.
"""
