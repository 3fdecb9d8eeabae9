"""What the dashboard does rather than shows: notes, deletion with undo.

Start at `places.py`. Nothing here draws; everything is refused where the dashboard is read-only.
"""
