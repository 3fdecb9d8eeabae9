"""The study's page: LASER taken apart, and lengths beyond those of the training."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

from benchmarks.models.gaps import ends, over_worlds
from benchmarks.models.study_plan import VARIANT
from benchmarks.pages.layout import table
from benchmarks.pages.study_claims import (
    ABLATIONS,
    EXTRAPOLATED,
    EXTRAPOLATION_COST,
    EXTRAPOLATION_KEPT,
    LENGTH_NAMES,
    LENGTHS,
    Ablation,
)
from benchmarks.pages.study_rows import (
    NONE,
    Row,
    Study,
    average,
    cell,
    gap,
    named,
    prose,
    sign,
    times,
    worlds_of,
)

CHANGES = """
Each line is LASER as tuned with one thing changed; lines of M are compared with M = 2, as the paper's are.
Operations (of a request with 100 candidates) and the paper's costs are relative to what a line is compared
with.
"""
SHORT = """
*full*: trained and served at the full length. *short*: trained at lengths drawn from a U-shaped distribution
with a mean of a fifth of it. *fixed*: trained at one shorter length. {passes}*base*: trained and served at a
twentieth. Quality kept is (row - base) / (full - base) of each world; the last two columns are relative to
*full*. STCA (arXiv:2511.06077) reports {kept} % kept at about {cost}. {rough}
"""
PASSES = "*short, three passes*: the same with three passes over the log. "
ROUGH = "Training times are rough, because several trainings shared a machine."

KINDS = ("full", "short", "short, three passes", "fixed 2,000", "base")


def taken_apart(study: Study) -> str:
    """LASER with one thing changed."""
    parts = ["## LASER taken apart\n"]
    worlds = worlds_of(study.pool("ablation"))
    if not worlds:
        return "\n".join([*parts, "Not measured yet.\n"])
    rows = study.pool("ablation", "order")
    parts.append(prose(CHANGES))
    parts.append("![Each change beside the paper's figure](model-study-ablation.svg)\n")
    for world in worlds:
        lines = [_ablation_line(rows, world, change) for change in changes(rows, world)]
        head = ["change", "paper, pt", "measured, pt", "same sign", "operations", "paper: cost"]
        parts += [f"### World `{world}`\n", table(head, lines)]
    return "\n".join([*parts, _lengths(rows, worlds)])


def changes(rows: list[Row], world: str) -> list[Ablation]:
    """The ablations that were measured on a world, those of the table first."""
    known = {change.name: change for change in ABLATIONS}
    there = [row["name"] for row in rows if row["part"] == "ablation" and row["world"] == world]
    new = [n for n in dict.fromkeys(there) if n not in known and not n.startswith((VARIANT, "L = "))]
    listed = [*ABLATIONS, *(Ablation(name) for name in new if name != "M = 2")]
    return [change for change in listed if gap(rows, world, change.name, change.against) is not None]


def same_sign(found: Row | None, claimed: float | None) -> str:
    """Whether a gap has the sign that a paper gives it."""
    seen = sign(found)
    if claimed is None or seen is None:
        return NONE
    return "not distinguished" if seen == 0 else "yes" if seen * claimed > 0 else "no"


def _ablation_line(rows: list[Row], world: str, change: Ablation) -> list[str]:
    found = gap(rows, world, change.name, change.against)
    cost, usual = (average(named(rows, world, name), "macs") for name in (change.name, change.against))
    points = NONE if change.points is None else f"{change.points:+.2f}"
    paper_cost = NONE if change.cost is None else f"{change.cost:.2f} x"
    return [change.name, points, cell(found), same_sign(found, change.points), times(cost, usual), paper_cost]


def ablation_points(study: Study) -> list[Row]:
    """For the plot: world, change, pt, low, high, paper (None where it reports nothing)."""
    rows, found = study.pool("ablation", "order"), []
    for world in worlds_of(study.pool("ablation")):
        for change in changes(rows, world):
            own = gap(rows, world, change.name, change.against)
            assert own is not None
            low, high = ends(own) or (own["pt"], own["pt"])
            point = {"world": world, "change": change.name, "pt": own["pt"], "low": low, "high": high}
            found.append({**point, "paper": change.points})
    return found


def _lengths(rows: list[Row], worlds: list[str]) -> str:
    lines = []
    for world in worlds:
        for shorter, longer in pairwise(LENGTHS):
            step, whole = gap(rows, world, longer, shorter), gap(rows, world, longer, LENGTHS[0])
            if step is not None:
                ratio = [average(named(rows, world, name), "macs") for name in (longer, LENGTHS[0])]
                names = [LENGTH_NAMES.get(name, name) for name in (longer, shorter)]
                lines.append([f"`{world}`", " - ".join(names), cell(step), cell(whole), times(*ratio)])
    if not lines:
        return ""
    head = ["world", "length", "step, pt", f"gain over {LENGTHS[0]}, pt", f"operations to {LENGTHS[0]}"]
    return (
        "### Length\n\nEach length trained on its own. The paper reports a gain that falls as a power of the "
        "length and is flat beyond 1,000.\n\n" + table(head, lines)
    )


@dataclass(frozen=True)
class Kept:
    """What a training keeps of the gain of a full length over a short one, and its share of the cost.

    Attributes:
        quality: over worlds, percent; None where the full length gains nothing on some world.
        seconds, behaviours: of training, shares of the full one's.
    """

    quality: Row | None
    seconds: float
    behaviours: float


def kept_of(rows: list[Row], world: str, name: str, model: str) -> Kept | None:
    """(name - base) / (full - base) of each world; None without the three."""
    full, base = f"{model}, full", f"{model}, base"
    own, whole = named(rows, world, name), named(rows, world, full)
    shares: dict[int, list[float]] = {}
    gains = []
    for seed in sorted({row["world_seed"] for row in own}):
        here = [row for row in rows if row["world_seed"] == seed]
        gain, kept = gap(here, world, full, base), gap(here, world, name, base)
        if gain is not None and kept is not None:
            gains.append(gain["pt"])
            shares[seed] = [100 * kept["pt"] / gain["pt"]] if gain["pt"] else []
    if not gains:
        return None
    seconds, behaviours = (
        mean(row[column] for row in own) / mean(row[column] for row in whole)
        for column in ("train_s", "behaviours_trained")
    )
    return Kept(over_worlds(shares) if min(gains) > 0 else None, seconds, behaviours)


def extrapolated(study: Study) -> str:
    """Trained short, served long."""
    parts = ["## Trained short, served long\n"]
    rows = study.pool("length")
    if not rows:
        return "\n".join([*parts, "Not measured yet.\n"])
    passes = PASSES if any("three passes" in row["name"] for row in rows) else ""
    shown = {"kept": EXTRAPOLATION_KEPT, "cost": EXTRAPOLATION_COST, "passes": passes, "rough": ROUGH}
    parts.append(prose(SHORT.format(**shown)))
    for world in worlds_of(rows):
        for model in EXTRAPOLATED:
            names = dict.fromkeys(r["name"] for r in rows if r["model"] == model and r["world"] == world)
            if names:
                parts += [f"### {model}, world `{world}`\n", _of_lengths(rows, world, model, names)]
    return "\n".join(parts)


def _of_lengths(rows: list[Row], world: str, model: str, names: Iterable[str]) -> str:
    rank = {f"{model}, {kind}": i for i, kind in enumerate(KINDS)}
    lines = []
    for name in sorted(names, key=lambda n: (rank.get(n.partition(" served at ")[0], 9), -_served(rows, n))):
        own = named(rows, world, name)
        kept = None if name.endswith((", full", ", base")) else kept_of(rows, world, name, model)
        whole = named(rows, world, f"{model}, full")
        shares = [times(average(own, c), average(whole, c)) for c in ("train_s", "behaviours_trained")]
        lines.append(
            [
                name.removeprefix(f"{model}, ").partition(" served at ")[0],
                f"{max(row['trained_history'] for row in own):,}",
                f"{max(row['history'] for row in own):,}",
                f"{mean(row['sauc'] for row in own):.4f}",
                NONE if name.endswith(", full") else cell(gap(rows, world, name, f"{model}, full")),
                _percent(kept),
                *shares,
            ]
        )
    head = ["training", "longest in training", "served", "sAUC", "gap to full, pt", "quality kept, %"]
    return table([*head, "training time", "behaviours read in training"], lines)


def _served(rows: list[Row], name: str) -> int:
    return max(int(row["history"]) for row in rows if row["name"] == name)


def _percent(kept: Kept | None) -> str:
    if kept is None:
        return NONE
    return "full gains nothing" if kept.quality is None else cell(kept.quality, ".0f")
