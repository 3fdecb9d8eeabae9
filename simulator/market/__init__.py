"""The market: auctions, budgets and ledger.

Start at `plain.py`, which says in Python what `kernel.py` compiles.
"""
