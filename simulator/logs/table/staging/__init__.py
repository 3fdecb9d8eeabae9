"""Staging: a mapping file, and the raw files that it names, read in batches and mapped to staged rows.

Start at `stage.py`.
"""
