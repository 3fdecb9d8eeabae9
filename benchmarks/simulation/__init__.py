"""The simulation itself: auctions, worlds and designs, one more cell of a sweep, and its memory.

Start at `market.py`.
"""
