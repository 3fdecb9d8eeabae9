"""The write-ahead log: a change is a record, durable before it is acknowledged, and replayed at opening.

Start at `wal.py`, then `commit.py` (group commit) and `replay.py`.
"""
