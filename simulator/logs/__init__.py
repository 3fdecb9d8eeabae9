"""Real logs: a folder in the contracts of `traffic/`, its manifest, and the world fitted on it.

Start at `folder.py`; `table/` imports one.
"""
