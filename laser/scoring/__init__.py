"""The scoring runtime. Start reading at `runtime.py`."""
