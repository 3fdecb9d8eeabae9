"""What the dashboard does rather than shows: notes, deletion with undo, `laser-ab` as a process.

Start at `jobs.py`. Nothing here draws; everything that changes anything is refused where the dashboard is
read-only.
"""
