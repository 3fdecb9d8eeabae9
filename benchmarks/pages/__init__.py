"""The pages in docs/ and the lines of README.md that are made from the saved results (`make bench-page`).

Start at `models.py`; stores.py and study.py are the other pages, the rest their sections.
"""
