"""SeqVault: stores behaviour histories. Start reading at `store.py`."""
