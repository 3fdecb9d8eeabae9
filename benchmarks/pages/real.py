"""The section of docs/model-table.md about real exposures, from what models/real_table.py saved."""

from collections import defaultdict
from statistics import mean
from typing import Any

from benchmarks.models.real_gaps import DRAWS, seed_interval
from benchmarks.pages.layout import table

Row = dict[str, Any]
NONE = "–"

INTRODUCTION = """\
## Real exposures: KuaiRand-Pure

{machine}, commit {commit}. Learned from {train_impressions:,} exposures of {first_date} to the day before
{last_date}, judged by the {test_impressions:,} of {last_date} ({test_users:,} users; click rate
{test_click_rate:.3f}, before it {train_click_rate:.3f}). A click is a play. Every history ends a minute
before its exposure, and the user's click rate is that of the days before; the tab of an exposure stands for
its position. Width 16, histories of up to 64, one pass.

**What these data can show:** how models learn from real clicks, and whether a short real history helps.
**What they cannot:** what a long one gains. Known behaviours at an exposure of the last day: median
{history_median:.0f}, 90th percentile {history_p90:.0f}, most {history_max}; {history_empty:.0%} have none.
The log keeps 7,583 videos, so it is a thinned part of what users did. What was shown was chosen by the
platform, the last day is the first of a holiday, and clicks are plays, two in five, not clicks on ads.

GAUC has a trap here: within a user and a day, what comes before a click knows one click less than what
comes after it, so whoever reads the day's history ranks a user's exposures a little backwards. "Midnight"
scores the same exposures by the same weights with histories that end before the day.

AUC has the 95 % interval of its mean over {seeds} training seeds. Gaps are to DIN, in points (0.01) of AUC,
paired by training seed: the first interval is over seeds (Student), the second over users ({draws:,}
redraws of all users with their exposures, mean of the seeds).

The regression is the one that `laser-ab import` fits, here on the days before the last: effects of video,
author, category, scene and hour, the user's click rate up to the exposure, and counts over the whole history.
Models have no author, no rate of the same day, and one pass over the log.
"""

PROTOCOLS = {
    "plain": "Protocol plain: one batch and learning rate for all, maps begin at random",
    "tuned": "Protocol tuned: each model's own batch, rate and start, found on simulated worlds",
}


def section(result: Row) -> str:
    """The whole section."""
    rows = result["rows"]
    facts = next(row for row in rows if "log" in row)
    trained = [row for row in rows if "model" in row]
    machine = result["machine"]
    seeds = len({row["train_seed"] for row in trained})
    shown = {**facts, "seeds": seeds, "draws": DRAWS}
    shown |= {"machine": machine["gpu"] or machine["cpu"], "commit": result["commit"]}
    parts = [INTRODUCTION.format(**shown), _references([row for row in rows if "reference" in row])]
    for protocol in dict.fromkeys(row["protocol"] for row in trained):
        gaps = {row["gap"]: row for row in rows if "gap" in row and row["protocol"] == protocol}
        own = [row for row in trained if row["protocol"] == protocol]
        parts += [f"### {PROTOCOLS[protocol]}\n", _models(own, gaps), findings(gaps)]
    return "\n".join(parts)


def findings(gaps: dict[str, Row]) -> str:
    """What the gaps say: a difference where both intervals leave 0 on the same side."""
    above, neither, below = "Above DIN", "No difference from DIN shown", "Below DIN"
    sides: dict[str, list[str]] = {above: [], neither: [], below: []}
    for name, gap in gaps.items():
        ends = [end for key in ("over_seeds", "over_users") for end in gap[key] or (-1.0, 1.0)]
        side = above if min(ends) > 0 else below if max(ends) < 0 else neither
        sides[side].append(name.removesuffix(" - din"))
    lines = [f"{side}: {', '.join(models)}." for side, models in sides.items() if models]
    return " ".join(lines) + "\n"


def _models(rows: list[Row], gaps: dict[str, Row]) -> str:
    by_model = defaultdict(list)
    for row in rows:
        by_model[row["model"]].append(row)
    lines = []
    for model, own in sorted(by_model.items(), key=lambda entry: -mean(row["auc"] for row in entry[1])):
        averaged = {name: mean(row[name] for row in own) for name in own[0] if _is_number(own[0][name])}
        gap = gaps.get(f"{model} - din")
        lines.append(
            [
                model,
                f"{averaged['auc']:.4f} {_interval(seed_interval([row['auc'] for row in own]), '.4f')}",
                *_gap(gap),
                *(f"{averaged[name]:.4f}" for name in ("auc_midnight", "gauc", "gauc_midnight", "logloss")),
                f"{averaged['pcoc']:.3f}",
                f"{averaged['train_s']:.1f}",
                f"{own[0]['params']:,}",
                f"{own[0]['macs'] / 1e6:.3g} M",
            ]
        )
    head = ["model", "AUC", "gap to DIN, pt", "over seeds", "over users", "AUC, midnight", "GAUC"]
    head += ["GAUC, midnight", "log loss", "PCOC", "train s", "parameters", "MAC, 100"]
    return table(head, lines)


def _gap(gap: Row | None) -> list[str]:
    if gap is None:
        return [NONE] * 3
    return [f"{gap['pt']:+.2f}", *(_interval(gap[name], "+.2f") for name in ("over_seeds", "over_users"))]


def _interval(ends: list[float] | tuple[float, float] | None, form: str) -> str:
    return NONE if ends is None else f"[{ends[0]:{form}}, {ends[1]:{form}}]"


def _references(rows: list[Row]) -> str:
    names = ("auc", "gauc", "logloss", "pcoc")
    lines = [
        [row["reference"], *(NONE if row[name] is None else f"{row[name]:.4f}" for name in names)]
        for row in rows
    ]
    return table(["reference", "AUC", "GAUC", "log loss", "PCOC"], lines)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
