"""The tables of serving policies and of the timing plane's speed in docs/serving.md, from
benchmarks/results/timing.json.

python benchmarks/pages/timing.py
"""

import json
from typing import Any

from benchmarks.pages.layout import RESULTS, ROOT, table, with_block

PAGE = ROOT / "docs" / "serving.md"
POLICIES = ("fifo", "goodput", "ladder")
Rows = list[dict[str, Any]]


def policies_table(rows: Rows) -> str:
    """Full in time / any model in time / late, by profile, arm and load, a column for each policy."""
    cases: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row["part"] == "policies":
            cases.setdefault((row["profile"], row["arm"], row["load"]), {})[row["policy"]] = row
    lines = [
        [str(part) for part in case] + [_shares(found[policy]) for policy in POLICIES]
        for case, found in cases.items()
    ]
    return table(["profile", "arm", "load", *POLICIES], lines)


def _shares(row: dict[str, Any]) -> str:
    return " / ".join(f"{row[name]:.3f}" for name in ("full_in_time", "any_in_time", "late"))


def queue_table(rows: Rows) -> str:
    """One queue by this plane, SimPy alone and Ciw: speed, and the mean wait beside theory's; without rows,
    nothing.
    """
    lines = []
    for row in rows:
        if row["part"] == "queue":
            rate, wait = row["requests_per_cpu_s"], row.get("mean_wait")
            lines.append(
                [
                    row["program"],
                    "not installed" if rate is None else f"{rate:,.0f}",
                    "" if wait is None else f"{wait:.3f} ± {row['half_99']:.3f}",
                    "" if wait is None else f"{row['erlang_c']:.3f}",
                ]
            )
    head = ["M/M/4, load .8", "requests per CPU second", "mean wait, 99 %", "Erlang C"]
    return table(head, lines) if lines else ""


def page(text: str, rows: Rows) -> str:
    """The page with its tables."""
    return with_block(with_block(text, "policies", policies_table(rows)), "queue", queue_table(rows))


def main() -> None:
    """Rewrite what stands between the marks."""
    result = json.loads((RESULTS / "timing.json").read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), result["rows"]), encoding="utf-8")


if __name__ == "__main__":
    main()
