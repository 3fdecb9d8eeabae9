"""The dashboard as its reader meets it: pages over results of full size in a browser, a list of many runs.

Start at `load.py`.
"""
