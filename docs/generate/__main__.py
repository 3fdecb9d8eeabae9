"""`python -m docs.generate` (`make docs`): write docs/cli.md, docs/api.md and the table of rooms."""

from collections.abc import Callable
from pathlib import Path

from docs.generate import api, cli, rooms

DOCS = Path(__file__).resolve().parents[1]


def _rooms() -> str:
    """The page as it is, with the table between its markers made anew."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    before, begin, rest = text.partition("<!-- rooms:begin -->\n")
    _, end, after = rest.partition("<!-- rooms:end -->")
    if not begin or not end:
        raise ValueError(
            "docs/architecture.md: no lines <!-- rooms:begin --> and <!-- rooms:end -->, expected both. "
            "Put them back where the table of rooms belongs."
        )
    return f"{before}{begin}{rooms.tables()}{end}{after}"


#: Page -> what it should hold.
PAGES: dict[str, Callable[[], str]] = {"cli.md": cli.page, "api.md": api.page, "architecture.md": _rooms}


def main() -> None:
    """Write every page."""
    for name, made in PAGES.items():
        (DOCS / name).write_text(made(), encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
