"""The experiment file: its tables, how a file is loaded and checked, and errors that point at a line.

Start at `load.py`; the tables are in `settings.py`.
"""
