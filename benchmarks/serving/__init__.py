"""Models at work: requests scored per second, the latency of one, and a live experiment on a GPU.

Start at `value_plane.py`; latency.py times single requests, gpu_live.py runs a whole experiment with measured
service times.
"""
