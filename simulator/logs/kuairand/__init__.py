"""KuaiRand's published CSV files, made a log folder.

Start at `importer.py`.
"""
