"""Bytes: how a column becomes words and a block, with checksums, in plain numpy.

Start at `block.py`; `codec.py` is one column of it.
"""
