"""The tables of docs/serving.md: policies, profiles against live runs, the two engines, the bottleneck.

    python benchmarks/pages/serving.py

From benchmarks/results: timing.json, profile_against_live_h200.json and _cpu.json, and
h200_profile_scorecard.json, which is `laser-ab report RUN --json` of a run of examples/h200-profile.toml.
"""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.pages.layout import RESULTS, ROOT, table, with_block

PAGE = ROOT / "docs" / "serving.md"
POLICIES = ("fifo", "goodput", "ladder")
#: Ways of a profile (`serving/profile_against_live.py`), and what the page calls them.
WAYS = {
    "live": "live",
    "repeated": "repeated calls",
    "served": "other work before each",
    "served + runs": "and in runs",
}
ARMS = {"control": "DIN-50", "treatment": "LASER-300"}
STAGES = {
    "store_queueing": "waiting for the store",
    "store_service": "reading",
    "transport_service": "transport",
    "scorer_queueing": "waiting for the scorer",
    "scorer_service": "scoring",
}
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


def against_live_table(results: Mapping[str, Rows]) -> str:
    """P50 / P99 in ms of live runs and of a profile's replays, by machine, arm and load."""
    lines = []
    for machine, rows in results.items():
        cases: dict[tuple[str, float], dict[str, dict[str, Any]]] = {}
        for row in rows:
            cases.setdefault((row["arm"], row["load"]), {})[row["way"]] = row
        for (arm, load), ways in cases.items():
            times = (f"{ways[way]['p50_ms']:#.3g} / {ways[way]['p99_ms']:#.3g}" for way in WAYS)
            lines.append([f"{ARMS[arm]}, {machine}", f"{load:g}", *times])
    return table(["", "load", *WAYS.values()], lines)


def bottleneck_block(card: Mapping[str, Any]) -> str:
    """What limits both arms of a run, from its scorecard."""
    arms = [card["arms"][arm] for arm in ("control", "treatment")]
    serving = [arm["serving"] for arm in arms]

    def percents(*shares: float) -> str:
        return ", ".join(f"{100 * share:.2g}" for share in shares)

    def slowest(shares: Mapping[str, float]) -> str:
        most = sorted(STAGES, key=lambda stage: -shares[stage])[:2]
        return ", ".join(f"{percents(shares[stage])} % {STAGES[stage]}" for stage in most)

    store = [(s["store_utilisation"], s["transport_utilisation"]) for s in serving]
    lines = [
        ["scorer busy", *(f"{percents(s['scorer_utilisation'])} %" for s in serving)],
        [
            "store workers busy (reading, transport)",
            *(f"{percents(sum(both))} % ({percents(*both)})" for both in store),
        ],
        ["bottleneck", *(s["bottleneck"] for s in serving)],
        [f"mean batch, of at most {serving[0]['max_batch']}", *(f"{s['mean_batch']:.1f}" for s in serving)],
        ["a full batch over a single request", *(f"{s['full_batch_cost']:.1f} times" for s in serving)],
        ["a P99 request", *(slowest(s["p99_shares"]) for s in serving)],
        ["P50 / P99", *(f"{a['latency']['p50_ms']:.2f} / {a['latency']['p99_ms']:.2f} ms" for a in arms)],
    ]
    rate = serving[0]["requests_per_s"]
    intro = f"At its budget of {card['budget_ms']:.2f} ms and {rate:,.0f} requests a second:\n\n"
    return intro + table(["", "DIN-50 on LastN", "LASER-1000 on SeqVault"], lines)


def saved(name: str) -> Any:
    """A saved result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def page(text: str) -> str:
    """The page with its tables."""
    timing: Rows = saved("timing")["rows"]
    live = {name: saved(f"profile_against_live_{name.lower()}")["rows"] for name in ("H200", "CPU")}
    for mark, block in (
        ("policies", policies_table(timing)),
        ("against-live", against_live_table(live)),
        ("queue", queue_table(timing)),
        ("bottleneck", bottleneck_block(saved("h200_profile_scorecard"))),
    ):
        text = with_block(text, mark, block)
    return text


def main() -> None:
    """Rewrite what stands between the marks."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
