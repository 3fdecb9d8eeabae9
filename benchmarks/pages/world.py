"""The tables of markets and of related categories in docs/world.md, from results that are saved.

python benchmarks/pages/world.py
"""

from statistics import mean
from typing import Any

from benchmarks.models.gaps import REFERENCES, gaps_by_world, over_worlds
from benchmarks.pages.layout import ROOT, saved, table, with_block

PAGE = ROOT / "docs" / "world.md"
MARKETS = ["market", "ADVV", "revenue", "CTR", "budgets spent: A/B", "revenue lost to budgets"]
RELATED = [
    "model, behaviours read",
    "rows of categories",
    "over Base, not related",
    "over Base, related",
    "over Base, single items",
    "logit by 10 of its own",
    "by 10 related",
    "weight of its own",
    "of related",
    "of others",
]
APART, TOGETHER = "quick-40", "quick-40-related"  # worlds whose categories are not related, and are
ITEMS = "quick-items"  # one whose categories are two ads each
NAMES = {
    "counts": "counts of the category",
    "departments": "counts of category and department",
    "transformer": "Transformer",
}
ROWS = {"tuned": "own", "full-rate": "own, at the full rate", "departments": "own and the department's"}
Row = dict[str, Any]


def markets_table(rows: list[Row]) -> str:
    """True lifts in percent, each with its standard error."""
    return table(MARKETS, [[row["market"], *_lifts(row), *_budgets(row)] for row in rows])


def _lifts(row: Row) -> list[str]:
    names = ("advv_per_request", "revenue_per_request", "ctr")
    return [f"{100 * row[name]:+.2f} ± {100 * row[f'{name}_se']:.2f} %" for name in names]


def _budgets(row: Row) -> list[str]:
    if row["exhausted_share"] is None:
        return ["", ""]
    return [f"{100 * row['exhausted_share']['ab']:.1f} %", f"{100 * row['revenue_lost']:.2f} %"]


def related_block(result: Row) -> str:
    """What is possible, a line for each model, and where it was measured."""
    rows = [row for row in result["rows"] if "model" in row]
    related = [row for row in rows if row["world"] == TOGETHER]
    base = mean(row["sauc"] for row in related if row["model"] == "base")
    most, apart = (100 * (mean(row[name] for row in related) - base) for name in ("most", "most_apart"))
    seeds = sorted({row["world_seed"] for row in rows})
    return (
        f"Where they are related, the truth is {most:.2f} points above Base, and who knows all of it but the "
        f"relations {apart:.2f}.\n\n{table(RELATED, _models(rows, related))}\nWorld seed"
        f"{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}; {result['machine']['cpu']}, commit "
        f"{result['commit']}.\n"
    )


def _models(rows: list[Row], related: list[Row]) -> list[list[str]]:
    """Gaps in points of truth-weighted AUC; logits and weights are of the world of relations."""
    lines = []
    for protocol, model in dict.fromkeys((row["protocol"], row["model"]) for row in related):
        own = [row for row in related if (row["protocol"], row["model"]) == (protocol, model)]
        if model == "base":
            continue
        lines.append(
            [
                f"{NAMES.get(model, model.upper())}, {own[0]['history']}",
                "" if model in REFERENCES else ROWS[protocol],
                *(_over_base(rows, world, protocol, model) for world in (APART, TOGETHER, ITEMS)),
                *(f"{mean(row['pull'][name] for row in own):+.3f}" for name in ("own", "related")),
                *(_weight(own, name) for name in ("own", "related", "other")),
            ]
        )
    return lines


def _over_base(rows: list[Row], world: str, protocol: str, model: str) -> str:
    """Mean over worlds; empty where it was not measured."""
    found = over_worlds(gaps_by_world(rows, world, protocol, model, "base"))
    return "" if found is None else f"{found['pt']:+.2f}"


def _weight(rows: list[Row], relation: str) -> str:
    """Mean over trainings; empty for a model whose attention was not asked."""
    return "" if rows[0]["weight"] is None else f"{mean(row['weight'][relation] for row in rows):.3f}"


def page_of(text: str, markets: Row, related: Row) -> str:
    """The page with the tables between their marks."""
    text = with_block(text, "markets", markets_table(markets["rows"]))
    return with_block(text, "related", related_block(related))


def main() -> None:
    """Rewrite what stands between the marks."""
    text = page_of(PAGE.read_text(encoding="utf-8"), saved("simulation_markets"), saved("model_related"))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
