"""Paired gaps between the models of a table, and the bars that they must clear."""

from collections import defaultdict
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student

from benchmarks.result import bar
from simulator.world.calibrated import calibrated

Row = dict[str, Any]
# (one, other): one's gain over the other is a claim, or a claim that there is none.
PAIRS = (
    ("din", "base"),
    ("laser", "din"),
    ("laser", "din-1000"),
    ("laser-50", "din"),
    # What length alone gains: the model is the same.
    ("laser", "laser-50"),
)
# LASER trained at one length and at the next.
CURVE = ("laser-50", "laser-200", "laser-500", "laser-1000", "laser-2000", "laser")
REFERENCES = ("counts", "departments")  # by name alone: they count, without attention
RIVALS = ("sim", "twin", "transformer", "hstu", "stca", "vista", "vql")


def gap_rows(rows: list[Row]) -> list[Row]:
    """One row for each pair, world preset and protocol: mean gap in points, spread, t and what it is over."""
    curve = tuple(zip(CURVE[1:], CURVE, strict=False))
    pairs = [*PAIRS, *curve, *(("laser", rival) for rival in RIVALS), *((rival, "din") for rival in RIVALS)]
    places = dict.fromkeys((row["world"], row["protocol"]) for row in rows)
    found = []
    for world, protocol in places:
        for one, other in pairs:
            gap = paired(rows, world, protocol, one, other)
            if gap is not None:
                found.append({"gap": f"{one} - {other}", "world": world, "protocol": protocol, **gap})
    return found


def paired(
    rows: list[Row], world: str, protocol: str, one: str, other: str, label: str = "model"
) -> Row | None:
    """The gap of two models, points of truth-weighted AUC; None where they share no cell.

    Args:
        label: what names a model in a row.
    """
    return over_worlds(gaps_by_world(rows, world, protocol, one, other, label))


def gaps_by_world(
    rows: list[Row], world: str, protocol: str, one: str, other: str, label: str = "model"
) -> dict[int, list[float]]:
    """By world seed, the gap of two models in each training seed that both have, points."""
    cells = {
        (row["world_seed"], row["train_seed"], row[label]): row["sauc"]
        for row in rows
        if row["world"] == world and row["protocol"] == protocol
    }
    by_world = defaultdict(list)
    for (seed, train_seed, model), value in cells.items():
        rival = cells.get((seed, train_seed, other))
        if model == one and rival is not None:
            by_world[seed].append(100 * (value - rival))
    return dict(by_world)


def over_worlds(by_world: dict[int, list[float]]) -> Row | None:
    """Mean and spread of what was found in each world; None for no world.

    Training seeds of one world share its users, so the worlds' means are what the spread is over.
    """
    if not by_world:
        return None
    means = [mean(values) for values in by_world.values()]
    spread = stdev(means) if len(means) > 1 else None
    return {
        "pt": mean(means),
        "least_pt": min(means),
        "sd_pt": spread,
        "t": mean(means) / (spread / len(means) ** 0.5) if spread else None,
        "worlds": len(means),
        "trainings": sum(len(values) for values in by_world.values()),
    }


def ends(gap: Row) -> tuple[float, float] | None:
    """The ends of Student's 95 % interval of a mean over worlds; None for one world."""
    if gap["sd_pt"] is None:
        return None
    half = float(student.ppf(0.975, gap["worlds"] - 1)) * gap["sd_pt"] / gap["worlds"] ** 0.5
    return gap["pt"] - half, gap["pt"] + half


def bars_of(rows: list[Row]) -> list[Row]:
    """Order on every made-up world of lasting interests; no gain of long history where there is none to have.

    A world calibrated on a log gains what histories are worth there, which no one claimed.
    """
    bars = []
    rising = {f"{one} - {other}" for one, other in zip(CURVE[1:-1], CURVE, strict=False)}
    for gap in gap_rows(rows):
        name = f"{gap['gap']} on {gap['world']}"
        if gap["protocol"] != "tuned" or gap["world"] in calibrated():
            continue
        if gap["gap"] == "laser-50 - din":
            bars.append(bar(f"{name}, either way, pt", abs(gap["pt"]), 0.05, better="lower"))
        elif gap["gap"] in ("laser - din", "laser - laser-50") and gap["world"] in ("null", "fast-drift"):
            bars.append(bar(f"{name}, pt", gap["pt"], 0.03, better="lower"))
        elif gap["gap"] in rising:
            bars.append(bar(f"{name}, pt", gap["pt"], 0.0))
        elif gap["gap"] in ("din - base", "laser - din") and gap["world"] not in ("null", "fast-drift"):
            bars.append(bar(f"least {name}, pt", gap["least_pt"], 0.0))
            if gap["worlds"] > 2:
                bars.append(bar(f"t of {name}", gap["t"], 4.0))
    return bars
