"""Reads: the index of blocks, the tails in DRAM and the reader over both, compiled and plain.

Start at `read.py`; `plain.py` says in numpy what `compiled_reader.py` does.
"""
