"""Request traces and examples: their format, and what a model may know of a request.

Start at `trace.py`.
"""
