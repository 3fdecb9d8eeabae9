"""The simulation itself: auctions and worlds, one more cell of a sweep, and what it takes in memory.

Start at `market.py`.
"""
