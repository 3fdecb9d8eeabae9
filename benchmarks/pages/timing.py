"""The table of serving policies in docs/serving.md, from benchmarks/results/timing.json.

python benchmarks/pages/timing.py
"""

import json
from typing import Any

from benchmarks.pages.layout import RESULTS, ROOT, table

PAGE = ROOT / "docs" / "serving.md"
BEGIN, END = "<!-- policies:begin -->\n", "<!-- policies:end -->\n"
POLICIES = ("fifo", "goodput", "ladder")


def policies_table(rows: list[dict[str, Any]]) -> str:
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


def main() -> None:
    """Rewrite what stands between the marks."""
    result = json.loads((RESULTS / "timing.json").read_text(encoding="utf-8"))
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(before + BEGIN + policies_table(result["rows"]) + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
