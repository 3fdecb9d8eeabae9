"""The study's page: quality against operations and latency, and variants of LASER."""

from dataclasses import dataclass

from benchmarks.models.study_plan import SUMMARY_KEPT, VARIANT
from benchmarks.pages.layout import table
from benchmarks.pages.study_parts import ROUGH
from benchmarks.pages.study_rows import (
    NONE,
    Row,
    Study,
    average,
    cell,
    front,
    gap,
    large,
    milliseconds,
    named,
    prose,
    sign,
    times,
    worlds_of,
)

CANDIDATES = (100, 500)
MODES = {"graph": "GPU, graph", "eager": "GPU, eager", "cpu": "CPU, one thread"}
MACS = {100: "macs", 500: "macs_500"}
COSTS = """
Bold: on the Pareto front of its column by the means, no model being both cheaper and better. Latency is of
one request, from ids on the host to logits on the host (`benchmarks/serving/latency.py`): on a GPU from a
captured graph, on a CPU one thread; all in float32 (in half precision a Transformer gains most:
`docs/decisions.md` has both). With a summary kept the server stores what does not depend on the candidate.
Plots leave out the model without history.
"""
TIED = f"{VARIANT}tied layers"
OFF = f" `{TIED}` does the same work as `laser`: what their times differ by is what a run can be off by."
LATENCIES = {"gpu": ("graph", "GPU"), "cpu": ("cpu", "CPU")}


@dataclass(frozen=True)
class Cost:
    """A cost of serving: what names it, its unit, and the models' points on a world.

    Attributes:
        points: (name, cost, gap to Base in points).
    """

    title: str
    candidates: int
    points: list[tuple[str, float, float]]


def costs(study: Study, world: str) -> dict[str, list[Cost]]:
    """By plot ("macs", "gpu", "cpu"), the models' costs and quality on a world, one of each request size."""
    rows = study.pool("order")
    quality = {name: found["pt"] for name in _names(rows, world) if (found := gap(rows, world, name, "base"))}
    quality["base"] = 0.0
    macs, found = {}, {}
    for count in CANDIDATES:
        for name in quality:
            macs[name, count] = average(named(rows, world, name), MACS[count])
    found["macs"] = [
        Cost("multiply-accumulates", c, [(n, m, quality[n]) for n in quality if (m := macs[n, c])])
        for c in CANDIDATES
    ]
    for plot, (mode, place) in LATENCIES.items():
        found[plot] = [Cost(f"P50 on a {place}, ms", c, _timed(study, quality, mode, c)) for c in CANDIDATES]
    return found


def _names(rows: list[Row], world: str) -> list[str]:
    return list(dict.fromkeys(row["name"] for row in rows if row["world"] == world))


def _timed(study: Study, quality: dict[str, float], mode: str, count: int) -> list[tuple[str, float, float]]:
    """A summary that is kept serves as its model does, at a cost of its own."""
    points = []
    for name in (*quality, *(f"{name}{SUMMARY_KEPT}" for name in quality)):
        taken = study.latency_ms(name, mode, count)
        if taken is not None:
            points.append((name, taken, quality[name.removesuffix(SUMMARY_KEPT)]))
    return points


def against_cost(study: Study) -> str:
    """Quality against cost."""
    parts = ["## Quality against cost\n"]
    worlds = worlds_of(study.pool("order"))
    if not worlds:
        return "\n".join([*parts, "Not measured yet.\n"])
    parts.append(prose(COSTS))
    parts += [prose(f"Timed on {_machines(study)}.")] if study.latency else []
    for world in worlds:
        found = costs(study, world)
        parts += [f"### World `{world}`\n", _cost_table(study, world, found)]
    for plot in plots_of(study):
        parts.append(f"![Quality against cost: {plot}](model-study-{plot}.svg)\n")
    missing = [plot.upper() for plot in LATENCIES if plot not in plots_of(study)]
    parts += [f"Latency on a {place} is not measured yet.\n" for place in missing]
    return "\n".join([*parts, *_latencies(study), *_skipped(study), *_otherwise(study)])


def plots_of(study: Study) -> list[str]:
    """The costs that there are points of."""
    worlds = worlds_of(study.pool("order"))
    found = [costs(study, world) for world in worlds]
    return [plot for plot in ("macs", *LATENCIES) if any(c.points for own in found for c in own[plot])]


def _machines(study: Study) -> str:
    shown = []
    for name, result in study.results.items():
        if name.startswith("model_latency"):
            machine = result["machine"]
            shown.append(f"{machine['gpu'] or machine['cpu']} (commit {result['commit']})")
    return ", ".join(shown)


def _latencies(study: Study) -> list[str]:
    """P50 and P99 of everything that was timed."""
    columns = [
        (mode, count)
        for mode in MODES
        for count in CANDIDATES
        if any((row["mode"], row["candidates"]) == (mode, count) for row in study.latency)
    ]
    if not columns:
        return []
    lines = []
    for name in dict.fromkeys(row["name"] for row in study.latency):
        own = next(row for row in study.latency if row["name"] == name)
        line = [name, f"{own['history']:,}"]
        for mode, count in columns:
            both = [study.latency_ms(name, mode, count, quantile) for quantile in ("p50_ms", "p99_ms")]
            line.append(NONE if None in both else " / ".join(map(milliseconds, both)))
        lines.append(line)
    counts = [row["requests"] for row in study.latency if row["requests"]]
    head = ["timed", "history", *(f"{MODES[mode]}, {count}" for mode, count in columns)]
    shown = (
        f"P50 / P99 in ms, {min(counts):,} to {max(counts):,} requests each, in one run." if counts else ""
    )
    if {"laser", TIED} <= {row["name"] for row in study.latency}:
        shown += OFF
    return ["### Latency\n", prose(shown), table(head, lines)]


def _skipped(study: Study) -> list[str]:
    found = dict.fromkeys((row["name"], row["skipped"]) for row in study.latency if row.get("skipped"))
    shown = "; ".join(f"{name}: {reason}" for name, reason in found)
    return [prose(f"Not timed: {shown}.")] if shown else []


def _otherwise(study: Study) -> list[str]:
    """What was timed at another length, or with other settings, than it was judged with."""
    judged = {row["name"]: row for row in study.pool("order", "ablation")}
    found: dict[str, None] = {}
    for row in study.latency:
        own = judged.get(row["name"].removesuffix(SUMMARY_KEPT))
        if own is None:
            continue
        if row["history"] != own["history"]:
            found[f"{row['name']} ({row['history']:,} behaviours, judged with {own['history']:,})"] = None
        if (row["width"], row["options"]) != (own["width"], own["options"]):
            found[f"{row['name']} (other options or width)"] = None
    return [prose(f"Timed otherwise than judged: {'; '.join(found)}.")] if found else []


def _cost_table(study: Study, world: str, found: dict[str, list[Cost]]) -> str:
    rows = study.pool("order")
    columns = [cost for plot in ("macs", *LATENCIES) for cost in found[plot]]
    fronts = [front(cost.points) for cost in columns]
    by_name = [{name: value for name, value, _ in cost.points} for cost in columns]
    quality = {name: pt for cost in columns for name, _, pt in cost.points}
    lines = []
    for name in sorted(quality, key=lambda n: -quality[n]):
        cells = []
        for i, values in enumerate(by_name):
            value = values.get(name)
            text = large(value) if i < len(CANDIDATES) else milliseconds(value)
            cells.append(f"**{text}**" if name in fronts[i] else text)
        model = name.removesuffix(SUMMARY_KEPT)
        lines.append([name, NONE if model == "base" else cell(gap(rows, world, model, "base")), *cells])
    titles = ["MAC", "GPU P50, ms", "CPU P50, ms"]
    head = [f"{title}, {count}" for title in titles for count in CANDIDATES]
    return table(["model", "gap to Base, pt", *head], lines)


def varied(study: Study) -> str:
    """Variants of LASER."""
    parts = ["## Variants of LASER\n"]
    own = [row for row in study.pool("ablation") if row["name"].startswith(VARIANT)]
    if not own:
        return "\n".join([*parts, "Not measured yet.\n"])
    rows = study.pool("ablation", "order")
    shown = "Gap and costs are relative to LASER as tuned at the same length; latency is P50 in ms."
    parts.append(prose(f"{shown} {ROUGH}"))
    for world in worlds_of(own):
        lines = [_variant_line(study, rows, world, name) for name in _names(own, world)]
        head = [
            "variant",
            "against",
            "gap, pt",
            "distinguished",
            "MAC, 100",
            "MAC, 500",
            "parameters",
            "training time",
        ]
        head += [f"{place} {count}" for _, place in LATENCIES.values() for count in CANDIDATES]
        parts += [f"### World `{world}`\n", table(head, lines)]
    return "\n".join(parts)


def _variant_line(study: Study, rows: list[Row], world: str, name: str) -> list[str]:
    _, _, length = name.partition(", L = ")
    against = f"L = {length}" if length else "laser"
    found = gap(rows, world, name, against)
    one, other = named(rows, world, name), named(rows, world, against)
    columns = (*MACS.values(), "params", "train_s")
    ratios = [times(average(one, column), average(other, column)) for column in columns]
    shown = {None: NONE, 0: "no", 1: "better", -1: "worse"}[sign(found)]
    taken = [
        _against(study.latency_ms(name, mode, count), study.latency_ms(against, mode, count))
        for mode, _ in LATENCIES.values()
        for count in CANDIDATES
    ]
    return [name.removeprefix(VARIANT), against, cell(found), shown, *ratios, *taken]


def _against(value: float | None, usual: float | None) -> str:
    if value is None:
        return NONE
    return milliseconds(value) if usual is None else f"{milliseconds(value)} ({times(value, usual)})"
