"""Models at work: the latency of one request, and a live experiment on a GPU.

Start at `latency.py`; gpu_live.py runs a whole experiment with measured service times.
"""
