"""Segments as a whole: written, verified block by block, and salvaged where their footer is damaged.

Start at `segment_writer.py`.
"""
