"""A file a page; `app.py` lists them."""
