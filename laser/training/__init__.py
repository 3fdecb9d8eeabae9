"""Training, calibration and offline metrics. Start reading at `loop.py`."""
