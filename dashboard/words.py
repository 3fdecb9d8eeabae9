"""Texts from files, such as names, notes and errors, as plain words in Markdown."""

from __future__ import annotations

import re

# What begins a link, an image, code, emphasis, a formula or a coloured text of Streamlit's. Underscores
# inside words mean nothing, and HTML is never rendered.
_SPECIAL = re.compile(r"([\\`*\[\]$~|]|(?<!\w)_|_(?!\w))")


_CODE = re.compile(r"(`[^`]+`)")


def plain(text: object) -> str:
    """A text from a file, on one line, so that Markdown shows it as it is: no link, no image, no emphasis.

    What it marks as code, as messages do with the names of settings, is shown as code.
    """
    parts = _CODE.split(" ".join(str(text).split()))
    return "".join(part if _CODE.fullmatch(part) else _SPECIAL.sub(r"\\\1", part) for part in parts)
