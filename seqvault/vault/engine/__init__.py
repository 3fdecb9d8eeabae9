"""An open store: its state, its writer and followers, sealing, compaction and recovery.

Start at `table.py` and `state.py`, then `writer.py`.
"""
