"""The table of markets in docs/world.md, from benchmarks/results/simulation_markets.json.

python benchmarks/pages/markets.py
"""

import json
from typing import Any

from benchmarks.pages.layout import RESULTS, ROOT, table, with_block

PAGE = ROOT / "docs" / "world.md"
HEAD = ["market", "ADVV", "revenue", "CTR", "budgets spent: A/B", "revenue lost to budgets"]


def markets_table(rows: list[dict[str, Any]]) -> str:
    """True lifts in percent, each with its standard error."""
    return table(HEAD, [[row["market"], *_lifts(row), *_budgets(row)] for row in rows])


def _lifts(row: dict[str, Any]) -> list[str]:
    names = ("advv_per_request", "revenue_per_request", "ctr")
    return [f"{100 * row[name]:+.2f} ± {100 * row[f'{name}_se']:.2f} %" for name in names]


def _budgets(row: dict[str, Any]) -> list[str]:
    if row["exhausted_share"] is None:
        return ["", ""]
    return [f"{100 * row['exhausted_share']['ab']:.1f} %", f"{100 * row['revenue_lost']:.2f} %"]


def page_of(text: str, rows: list[dict[str, Any]]) -> str:
    """The page with the table between its marks."""
    return with_block(text, "markets", markets_table(rows))


def main() -> None:
    """Rewrite what stands between the marks."""
    result = json.loads((RESULTS / "simulation_markets.json").read_text(encoding="utf-8"))
    PAGE.write_text(page_of(PAGE.read_text(encoding="utf-8"), result["rows"]), encoding="utf-8")


if __name__ == "__main__":
    main()
