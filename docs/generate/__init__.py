"""The pages and tables of the documentation that are read from the code.

`make docs` writes them, and a test refuses stale ones. Start at `__main__.py`.
"""
