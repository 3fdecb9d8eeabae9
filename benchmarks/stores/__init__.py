"""The stores beside RocksDB in C++ and a bare read of their bytes: reads, writes, disk, scale, transport.

Start at `reads.py`; harness/ has what the scripts share: the data, the engines, the rival.
"""
