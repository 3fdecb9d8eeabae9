"""The tables of docs/serving.md.

    python benchmarks/pages/serving.py

From benchmarks/results: timing.json, what benchmarks/serving saved of an H200 (value_plane_h200.json and so
on) and of a CPU, and h200_profile_scorecard.json: `laser-ab report RUN --json` of a run of
examples/h200-profile.toml.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.pages.layout import ROOT, saved, table, with_block
from benchmarks.result import falls_short
from simulator.results.bottleneck import PARTS

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
#: Bars of benchmarks/serving: what they measure, and of whom.
BARS = {
    "value_din50_c32": ("value plane, 32 candidates, requests/s", "DIN on 50"),
    "value_laser1000_c32": ("", "LASER on 1,000"),
    "value_slowest_c32": ("", "the slowest of the ten on 1,000"),
    "value_laser1000_c200": ("200 candidates", "LASER on 1,000"),
    "value_laser5000_c200": ("", "LASER on 5,000"),
    "live_rps": ("live, 200 candidates, P99 within 10 ms, requests/s", "LASER on about 1,000"),
    "one_laser_1k": ("one request, width 64, 500 candidates, fp16, ms", "LASER on 1,000"),
    "one_laser_10k": ("", "on 10,000"),
    "one_laser_100k": ("", "on 100,000"),
    "vs_transformer_1k": ("a captured Transformer over it, times", "on 1,000"),
    "vs_transformer_10k": ("", "on 10,000"),
    "vs_transformer_100k": ("", "on 100,000"),
    "replay_tail": ("P99 / P50 of 1,000 of them", "LASER on 1,000"),
    "sta_floor": ("the tokens' kernel over its bytes or multiplications, times", "on 10,000"),
    "change_float32": ("largest change of a probability against float64", "fp32"),
    "change_tf32": ("", "TF32"),
    "change_float16": ("", "fp16"),
    "quick_speedup": ("100,000 requests of world `quick`, twice, against one by one, times", "both arms"),
    "quick_change": ("largest change of a probability against the CPU", "both arms"),
    "cpu_din50": ("one thread of its CPU, against one by one, times", "DIN on 50"),
    "cpu_laser1000": ("", "LASER on 1,000"),
}
Rows = list[dict[str, Any]]


def scoring_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Every bar of the results, what was measured and what was aimed at."""
    bars = {bar["name"]: bar for result in results for bar in result["bars"]}

    def line(name: str, what: str, whose: str) -> list[str]:
        bar = bars[name]
        aimed = f"{'at least' if bar['better'] == 'higher' else 'at most'} {_figure(bar['bar'])}"
        return [what, whose, _figure(bar["value"]), aimed + (", falls short" if falls_short(bar) else "")]

    return table(["", "", "measured", "aimed at"], [line(name, *named) for name, named in BARS.items()])


def _figure(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 1000 else f"{value:.3g}"


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
        most = sorted(PARTS, key=lambda part: -shares[part])[:2]
        return ", ".join(f"{percents(shares[part])} % {PARTS[part]}" for part in most)

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


def page(text: str) -> str:
    """The page with its tables."""
    timing: Rows = saved("timing")["rows"]
    live = {name: saved(f"profile_against_live_{name.lower()}")["rows"] for name in ("H200", "CPU")}
    scoring = [saved(f"{name}_h200") for name in ("value_plane", "live", "quick_world")]
    for mark, block in (
        ("scoring", scoring_table(scoring)),
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
