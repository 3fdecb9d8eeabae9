"""Texts from files, such as names, notes and errors, as plain words in Markdown."""

from __future__ import annotations

import re

# What begins a link, an image, code, emphasis, a formula or a coloured text of Streamlit's. Underscores
# inside words mean nothing, and HTML is never rendered.
_SPECIAL = re.compile(r"([\\`*\[\]$~|]|(?<!\w)_|_(?!\w))")


def plain(text: object) -> str:
    """A text from a file, on one line, so that Markdown shows it as it is: no link, no image, no emphasis."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))
