"""What the pages share: where they lie, where their figures come from, and a table."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    text = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*text, *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"
