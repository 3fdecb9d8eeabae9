"""The simulation itself: auctions and worlds, whole runs and their memory.

Start at `market.py`.
"""
