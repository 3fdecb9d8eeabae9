"""What the pages share: where they lie, where their figures come from, and a table."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"


def saved(name: str) -> dict[str, Any]:
    """A saved result."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    text = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*text, *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"


def with_block(text: str, mark: str, block: str) -> str:
    """A page with the block between its marks, `<!-- MARK:begin -->` and `<!-- MARK:end -->`.

    Raises:
        ValueError: the marks are not there, each once and in order.
    """
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended or begin in rest or end in after:
        raise ValueError(
            f"The page lacks {begin} followed by {end}, each once. Put them where the block goes."
        )
    return f"{before}{begin}\n{block}{end}{after}"
