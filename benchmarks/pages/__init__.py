"""The pages in docs/ and the lines of README.md that are made from the saved results (`make bench-page`).

Start with stores.py, models.py and study.py, a page each; the other files are their sections.
"""
