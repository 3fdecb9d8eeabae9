"""The papers' experiments: LASER's A/B at full size, an arm for each other paper. Start at `__main__.py`."""
