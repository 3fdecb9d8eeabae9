"""The README's scorecard and picture, from a finished demo: `python -m docs.generate.demo runs/demo`.

Needs a Chromium and playwright, which the [dev] extra brings.
"""

import sys
from pathlib import Path

from docs.generate.browser import photographer
from simulator import read_run
from simulator.results.report import render

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- scorecard:begin -->\n", "<!-- scorecard:end -->"
HEIGHT = 1270


def scorecard(run: Path) -> str:
    """The scorecard as the terminal shows it, without colours."""
    card = read_run(run).scorecard
    if card is None:
        raise ValueError(f"{run}: found no scorecard, expected a finished run. Make one: laser-ab demo.")
    lines = [line.rstrip() for line in render(card, "table", width=100).splitlines()]
    return "```text\n" + "\n".join(lines).strip("\n") + "\n```\n"


def main(run: Path) -> None:
    """Write both."""
    readme = ROOT / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    readme.write_text(f"{before}{begin}{scorecard(run)}{end}{after}", encoding="utf-8")
    with photographer(run.parent) as take:
        take(f"scorecard?run={run.name}", ROOT / "docs" / "dashboard.png", HEIGHT, None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
