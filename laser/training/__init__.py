"""Training, calibration and offline metrics.

Start at `loop.py`; `config.py` has the settings.
"""
