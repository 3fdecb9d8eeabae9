"""What an operator asks of a store: check, statistics, snapshots, a quick measurement of its reads.

Start at `check.py`.
"""
