"""What tables and paragraphs are printed by: text as it is. Start at `console`."""

from typing import Any

from rich.console import Console


def console(**where: Any) -> Console:
    """A console that takes nothing for markup: names of arms and columns may have brackets and colons.

    Args:
        where: file, width and the like, see `rich.console.Console`.
    """
    return Console(markup=False, emoji=False, highlight=False, **where)
