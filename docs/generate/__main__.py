"""`python -m docs.generate` (`make docs`): write cli.md, api.md, the tables of rooms and metrics, and what is
shipped of saved results."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.pages import shipped
from benchmarks.pages.layout import with_block
from docs.generate import api, cli, metrics, rooms

DOCS = Path(__file__).resolve().parents[1]


def _between(page: str, name: str, table: Callable[[], str]) -> Callable[[], str]:
    """The page as it is, with the table between its markers made anew."""

    return lambda: with_block((DOCS / page).read_text(encoding="utf-8"), name, table())


# What the dashboard shows of saved results, which the package ships.
MEASURED = "../simulator/results/beside/measured"
#: Page -> what it should hold.
PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli.page,
    "api.md": api.page,
    "architecture.md": _between("architecture.md", "rooms", rooms.tables),
    "metrics.md": _between("metrics.md", "metrics", metrics.table),
    f"{MEASURED}/designs.json": shipped.designs,
    f"{MEASURED}/models.json": shipped.models,
    f"{MEASURED}/stores.json": shipped.stores,
}


def main() -> None:
    """Write every page."""
    for name, made in PAGES.items():
        (DOCS / name).write_text(made(), encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
