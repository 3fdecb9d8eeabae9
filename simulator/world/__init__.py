"""The truth: catalogue, users, behaviours, response, advertisers; numpy alone.

Start at `world.py`; `config.py` has the presets.
"""
