"""What an experiment starts from: the world or the log, prepared once.

Start at `prepare.py`.
"""
