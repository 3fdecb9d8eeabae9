"""The scoring runtime: a trained model on a device, behind one call.

Start at `runtime.py`.
"""
