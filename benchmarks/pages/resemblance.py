"""Logs beside worlds in docs/logs.md, from benchmarks/results/resemblance.json.

python benchmarks/pages/resemblance.py
"""

import json
from typing import Any

from benchmarks.pages.layout import RESULTS, ROOT, table, with_block
from simulator.logs.calibration.statistics import CALIBRATED, DISTRIBUTIONS, FIGURES

PAGE = ROOT / "docs" / "logs.md"
Row = dict[str, Any]


def tables(rows: list[Row]) -> str:
    """Distances pair by pair, then quantiles and figures traffic by traffic."""
    traffic = [row for row in rows if "traffic" in row]
    pairs = [row for row in rows if "world" in row]
    head = [row["traffic"] + (" (log)" if row["kind"] == "log" else "") for row in traffic]
    distances = [
        [f"{meaning}{' *' if name in CALIBRATED else ''}", *(_number(pair[name]) for pair in pairs)]
        for name, meaning in DISTRIBUTIONS.items()
    ]
    found = [
        [f"{meaning}: P10, median, P90, P99", *(_numbers(row[f"{name}_quantiles"]) for row in traffic)]
        for name, meaning in DISTRIBUTIONS.items()
    ]
    found += [[meaning, *(_number(row[name]) for row in traffic)] for name, meaning in FIGURES.items()]
    names = [f"{pair['log']}, {pair['world']}" for pair in pairs]
    return (
        table(["Kolmogorov distance (* has the bar)", *names], distances) + "\n" + table(["", *head], found)
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def _numbers(values: list[float] | None) -> str:
    return "" if values is None else ", ".join(_short(value) for value in values)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def page_of(text: str, rows: list[Row]) -> str:
    """The page with the tables between its marks."""
    return with_block(text, "resemblance", tables(rows))


def main() -> None:
    """Rewrite what stands between the marks."""
    result = json.loads((RESULTS / "resemblance.json").read_text(encoding="utf-8"))
    PAGE.write_text(page_of(PAGE.read_text(encoding="utf-8"), result["rows"]), encoding="utf-8")


if __name__ == "__main__":
    main()
