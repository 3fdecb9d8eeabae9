"""LASER: scores candidates from long behaviour histories. Start reading at `batch.py`."""
