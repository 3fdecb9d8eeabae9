"""Anybody's tables as a log folder, by a mapping file; and the mappings of published logs.

Start at `importer.py`.
"""
