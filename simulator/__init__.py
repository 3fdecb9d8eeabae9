"""The A/B simulator: composes stores and models. Start reading at `experiment/run.py`."""
