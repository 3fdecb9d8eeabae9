"""The study's page, first half: how models were compared and tuned, their order, and why."""

import json
from collections import defaultdict
from itertools import groupby
from statistics import mean, median, stdev
from typing import Any

from benchmarks.models.gaps import ends, over_worlds
from benchmarks.pages.layout import table
from benchmarks.pages.study_claims import EXPLANATIONS, OTHERS, PUBLISHED_AUC, WORLDS, Contrast, Explanation
from benchmarks.pages.study_rows import (
    AS_PUBLISHED,
    NONE,
    Row,
    Study,
    average,
    by_seed,
    cell,
    gap,
    named,
    prose,
    sign,
    verdict,
    worlds_of,
)

ORDER = tuple(PUBLISHED_AUC)
NEIGHBOURS = tuple(zip(ORDER[1:], ORDER, strict=False))
PROTOCOLS = {"tuned": "tuned", "plain": "untuned"}
HOW = """
{count} models ({models}) were tuned with {trials} trials each, on {places}. {apart} among the worlds below.
"""
UNKNOWN = "No trials are saved, so how models were tuned is not known here."
PLAIN = """
*Untuned*: one batch, one learning rate, width 16, maps that begin at random. `base` is a DIN over the newest
100 behaviours, like the ranker of arXiv:2602.11562 without a long history.
"""
UNITS = """
sAUC is AUC by the true click probabilities on the held-out days, AUC is by clicks. Gaps are in points (0.01)
of sAUC, paired: the same world and training seed. A mean over worlds, each the mean of its training seeds,
has Student's 95 % interval over the worlds; models are distinguished where it excludes 0, as one interval in
twenty does where there is no difference.
"""
TUNING = """
Trial 0 is the default, what `laser.training.presets` recommends; the others draw rates, width and the model's
own switches. All ran on {first}, the best on the others; chosen is the best mean over all of them. Gain: the
chosen trial over the default, on the worlds that chose it. Spread: of all trials on {first}, against the
default there. Every trial is in `benchmarks/results/model_study_tuning.json`.
"""
CONTRASTS = """
Each row is one contrast as it stands and with one thing changed, in the world or in the model. *Change* is
the second less the first, paired by world seed and training seed; seeds that only one of them has are left
out. An explanation holds where the change is as predicted: *less* where its interval is below 0, *more* where
it is above, *no loss* where it is not below, though a small loss can hide in an interval.
"""
BESIDE = ("no history", "din 50", "laser 5000")


def compared(study: Study) -> str:
    """What was compared and how."""
    parts = ["## What was compared and how\n"]
    if not study.rows:
        return "\n".join([*parts, "No judged trainings are saved yet.\n"])
    parts.append(_protocol(study))
    head = ["part", "protocol", "worlds, with their seeds", "training seeds", "trainings"]
    parts.append(table(head, _trainings(study.rows)))
    parts += [prose(shown)] if (shown := _less_often(study.pool("order"))) else []
    changed = [f"`{world}`: {WORLDS[world]}" for world in worlds_of(study.rows) if world in WORLDS]
    if changed:
        parts.append(prose(f"Worlds changed from a preset. {'; '.join(changed)}."))
    if study.failed:
        shown = ", ".join(dict.fromkeys(f"{row['name']} on {row['world']}" for row in study.failed))
        parts.append(prose(f"Failed and left out, {len(study.failed)} in all: {shown}."))
    return "\n".join(parts)


def _protocol(study: Study) -> str:
    models = list(dict.fromkeys(row["model"] for row in study.tuning))
    judged = {(row["world"], row["world_seed"]) for row in study.rows}
    both = judged & {(row["world"], row["world_seed"]) for row in study.tuning}
    shown = {"count": len(models), "models": ", ".join(models), "trials": trials_of(study)}
    shown |= {
        "places": _places(study.tuning),
        "apart": f"{len(both)} of them are" if both else "None of them is",
    }
    commits = defaultdict(list)
    for name, result in study.results.items():
        commits[result["commit"]].append(name)
    devices = ", ".join(sorted({row["device"] for row in study.rows}))
    made = "; ".join(f"{commit} ({', '.join(names)})" for commit, names in commits.items())
    how = HOW.format(**shown) if study.tuning else UNKNOWN
    return "\n".join([prose(how + PLAIN), prose(UNITS), prose(f"Trained on {devices}. Commits: {made}.")])


def trials_of(study: Study) -> str:
    """Trials of a model, failed ones too; from the fewest to the most where they differ."""
    failed = [row for row in study.failed if row["part"] == "tuning"]
    trials = defaultdict(set)
    for row in (*study.tuning, *failed):
        trials[row["model"]].add(row["trial"])
    counts = sorted({len(own) for own in trials.values()})
    return " to ".join(str(count) for count in dict.fromkeys([*counts[:1], *counts[-1:]]))


def _trainings(rows: list[Row]) -> list[list[str]]:
    """A line for each part and protocol; a training that two parts have is counted with the first."""
    lines, before = [], set[tuple[Any, ...]]()
    places = dict.fromkeys((row["part"], row["protocol"]) for row in rows)
    for part, protocol in sorted(places, key=lambda place: place[0] != "order"):
        own = [row for row in rows if (row["part"], row["protocol"]) == (part, protocol)]
        own = [row for row in own if _training(row) not in before]
        trained = {_training(row) for row in own}
        lines.append([part, PROTOCOLS[protocol], _places(own), _seeds(own, "train_seed"), f"{len(trained)}"])
        before |= trained
    return lines


def _training(row: Row) -> tuple[Any, ...]:
    """What distinguishes a training, whatever its rows are called: no two take as long to the digit."""
    return row["world"], row["world_seed"], row["train_seed"], row["train_s"]


def _less_often(rows: list[Row]) -> str:
    """Models that have fewer training seeds than the others."""
    seeds: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        seeds[row["name"]].add(row["train_seed"])
    most = max(map(len, seeds.values()), default=0)
    few = ", ".join(name for name, own in seeds.items() if len(own) < most)
    shown = f"With fewer training seeds than the other tuned models: {few}."
    return f"{shown} Gaps are over those that both have." if few else ""


def _places(rows: list[Row]) -> str:
    seeds = defaultdict(set)
    for row in rows:
        seeds[row["world"]].add(row["world_seed"])
    return "; ".join(f"`{world}` {', '.join(map(str, sorted(own)))}" for world, own in seeds.items())


def _seeds(rows: list[Row], name: str) -> str:
    return ", ".join(str(seed) for seed in sorted({row[name] for row in rows}))


def tuned(study: Study) -> str:
    """The tuning."""
    parts = ["## The tuning\n"]
    if not study.tuning:
        return "\n".join([*parts, "No trials are saved yet.\n"])
    places = list(dict.fromkeys((row["world"], row["world_seed"]) for row in study.tuning))
    models = list(dict.fromkeys(row["model"] for row in study.tuning))
    models.sort(key=lambda model: [*ORDER, *OTHERS].index(model) if model in (*ORDER, *OTHERS) else 99)
    lines = [_tuning_line(study.tuning, model, places) for model in models]
    head = ["model", "trials", "chosen", "options", "width", "batch", "rate", "table rate"]
    head += [f"gain on {world}:{seed}, pt" for world, seed in places]
    head += ["sd of trials, pt", "worst, median, best, pt"]
    parts.append(prose(TUNING.format(first=f"`{places[0][0]}:{places[0][1]}`")))
    return "\n".join([*parts, table(head, lines)])


def _tuning_line(rows: list[Row], model: str, places: list[tuple[str, int]]) -> list[str]:
    trials: dict[int, dict[tuple[str, int], Row]] = defaultdict(dict)
    for row in rows:
        if row["model"] == model:
            trials[row["trial"]][row["world"], row["world_seed"]] = row
    most = max(len(own) for own in trials.values())
    whole = {trial: own for trial, own in trials.items() if len(own) == most}
    best = max(whole, key=lambda trial: mean(row["sauc"] for row in whole[trial].values()))
    chosen, default = trials[best], trials.get(0, {})
    gains = [
        f"{100 * (chosen[place]['sauc'] - default[place]['sauc']):+.3f}"
        if place in chosen and place in default
        else NONE
        for place in places
    ]
    one = next(iter(chosen.values()))
    options = ", ".join(f"{name} {json.dumps(value)}" for name, value in sorted(one["options"].items()))
    how = [f"{one['width']}", f"{one['batch']}", f"{one['learning_rate']:.3g}", f"{one['table_rate']:.3g}"]
    return [
        model,
        f"{len(trials)}",
        f"{best}",
        options or "default",
        *how,
        *gains,
        *_spread(trials, places[0]),
    ]


def _spread(trials: dict[int, dict[tuple[str, int], Row]], place: tuple[str, int]) -> list[str]:
    found = {trial: 100 * own[place]["sauc"] for trial, own in trials.items() if place in own}
    if len(found) < 2 or 0 not in found:
        return [NONE, NONE]
    values = [value - found[0] for value in found.values()]
    return [f"{stdev(values):.3f}", f"{min(values):+.3f}, {median(values):+.3f}, {max(values):+.3f}"]


def ordered(study: Study) -> str:
    """The order at the paper's lengths."""
    parts = ["## The order at the paper's lengths\n"]
    rows = {protocol: study.pool("order", protocol=protocol) for protocol in PROTOCOLS}
    worlds = worlds_of(rows["tuned"] or rows["plain"])
    if not worlds:
        return "\n".join([*parts, "Not measured yet.\n"])
    if order_points(study):
        parts.append("![Gap to Base of every model, tuned and untuned](model-study-order.svg)\n")
    for world in worlds:
        parts += [f"### World `{world}`\n", _told(rows, world), _of_models(rows, world)]
        parts += ["Neighbours of the paper's order:\n", _neighbours(rows, world)]
        others = _of_others(rows["tuned"], world)
        parts += ["The other models, tuned:\n", others] if others else []
    return "\n".join(parts)


def counted(rows: list[Row], world: str) -> dict[str, int]:
    """How many neighbouring pairs have each verdict."""
    found = [verdict(gap(rows, world, one, other), 1.0) for one, other in NEIGHBOURS]
    return {shown: found.count(shown) for shown in dict.fromkeys(found)}


def best_first(rows: list[Row], world: str, names: tuple[str, ...] = (*ORDER, *OTHERS)) -> list[str]:
    """Models by their mean sAUC."""
    means = {name: average(named(rows, world, name), "sauc") for name in names}
    found = {name: value for name, value in means.items() if value is not None}
    return sorted(found, key=lambda name: -found[name])


def counted_text(rows: list[Row], world: str) -> str:
    """The verdicts in words."""
    return ", ".join(f"{count} {shown}" for shown, count in counted(rows, world).items())


def _told(rows: dict[str, list[Row]], world: str) -> str:
    lines = []
    for protocol, said in PROTOCOLS.items():
        if best := best_first(rows[protocol], world, ORDER):
            pairs = f"of {len(NEIGHBOURS)} neighbouring pairs, {counted_text(rows[protocol], world)}"
            lines.append(f"{said.capitalize()}, by the means: {' > '.join(best)}; {pairs}.")
    return "\n".join(prose(line) for line in lines)


def _of_models(rows: dict[str, list[Row]], world: str) -> str:
    lines = []
    for name, auc in PUBLISHED_AUC.items():
        scores = [average(named(rows[p], world, name), "sauc") for p in PROTOCOLS]
        gaps = [NONE if name == "base" else cell(gap(rows[p], world, name, "base")) for p in PROTOCOLS]
        paper = [f"{auc:.4f}", f"{100 * (auc - PUBLISHED_AUC['base']):+.2f}" if name != "base" else NONE]
        pairs = zip(scores, gaps, strict=True)
        shown = [text for score, own in pairs for text in (NONE if score is None else f"{score:.4f}", own)]
        clicks = average(named(rows["tuned"], world, name), "auc")
        shown.insert(1, NONE if clicks is None else f"{clicks:.4f}")
        lines.append([_with_length(rows["tuned"] or rows["plain"], world, name), *shown, *paper])
    head = ["model, history", "sAUC", "AUC", "gap to Base, pt", "untuned sAUC", "untuned gap, pt"]
    return table([*head, "paper: AUC", "paper: gap, pt"], lines)


def _with_length(rows: list[Row], world: str, name: str) -> str:
    own = named(rows, world, name)
    return f"{own[0]['model']} {max(row['history'] for row in own):,}" if own else name


def _neighbours(rows: dict[str, list[Row]], world: str) -> str:
    lines = []
    for one, other in NEIGHBOURS:
        line = [f"{one} - {other}", f"{100 * (PUBLISHED_AUC[one] - PUBLISHED_AUC[other]):+.2f}"]
        for protocol in PROTOCOLS:
            found = gap(rows[protocol], world, one, other)
            line += [cell(found), verdict(found, 1.0)]
        lines.append(line)
    return table(["pair", "paper, pt", "tuned, pt", "", "untuned, pt", ""], lines)


def _of_others(rows: list[Row], world: str) -> str:
    lines = []
    for name in (*OTHERS, *BESIDE):
        score = average(named(rows, world, name), "sauc")
        if score is not None:
            gaps = [cell(gap(rows, world, name, other)) for other in ("base", "din", "laser")]
            label = name if name == "no history" else _with_length(rows, world, name)
            lines.append([label, f"{score:.4f}", *gaps])
    head = ["model, history", "sAUC", "gap to Base, pt", "gap to DIN, pt", "gap to LASER, pt"]
    return table(head, lines) if lines else ""


def order_points(study: Study) -> list[Row]:
    """Gaps to Base for the plot: world, model, kind (tuned, untuned, paper), pt, low, high."""
    found: list[Row] = []
    for protocol, said in PROTOCOLS.items():
        rows = study.pool("order", protocol=protocol)
        for world in worlds_of(rows):
            for name in (*ORDER[1:], *OTHERS):
                if (own := gap(rows, world, name, "base")) is not None:
                    low, high = ends(own) or (own["pt"], own["pt"])
                    place = {"world": world, "model": name, "kind": said}
                    found.append({**place, "pt": own["pt"], "low": low, "high": high})
    for world in dict.fromkeys(row["world"] for row in found):
        for name in ORDER[1:]:
            pt = 100 * (PUBLISHED_AUC[name] - PUBLISHED_AUC["base"])
            found.append({"world": world, "model": name, "kind": "paper", "pt": pt, "low": pt, "high": pt})
    return found


def explained(study: Study) -> str:
    """Where it does not come out, and what was put to the test."""
    parts = ["## Where it does not come out\n", *_against_paper(study)]
    rows = study.pool("why", "ablation", "order", "length")
    tests = [test for test in EXPLANATIONS if _contrasted(rows, test.changed) is not None]
    if not tests:
        return "\n".join([*parts, "No explanation has been put to the test yet.\n"])
    parts.append(prose(CONTRASTS))
    for (title, claim), own in groupby(tests, key=lambda test: (test.title, test.claim)):
        parts += [f"### {title}\n", prose(claim)]
        head = ["contrast", "as it stands, pt", "changed to", "then, pt", "change, pt", "predicted", "holds"]
        parts.append(table(head, [_explanation_line(rows, test) for test in own]))
    return "\n".join(parts)


def _against_paper(study: Study) -> list[str]:
    rows = study.pool("order")
    lines = []
    for world in worlds_of(rows):
        found = {f"{one} - {other}": verdict(gap(rows, world, one, other), 1.0) for one, other in NEIGHBOURS}
        shown = [f"{pair} {said}" for pair, said in found.items() if said != AS_PUBLISHED]
        lines.append(prose(f"Tuned models on `{world}`, not as in the paper: {'; '.join(shown) or 'none'}."))
    return lines


def _contrasted(rows: list[Row], contrast: Contrast) -> Row | None:
    return gap(rows, contrast.world, contrast.one, contrast.other)


def _explanation_line(rows: list[Row], test: Explanation) -> list[str]:
    # Of training seeds that both have, so that what a seed does to a model is in neither or in both.
    seeds = [{row["train_seed"] for row in named(rows, c.world, c.one)} for c in (test.usual, test.changed)]
    own = [row for row in rows if row["train_seed"] in seeds[0] & seeds[1]]
    usual, changed = (by_seed(own, c.world, c.one, c.other) for c in (test.usual, test.changed))
    both = {seed: [mean(changed[seed]) - mean(usual[seed])] for seed in changed if seed in usual}
    change = over_worlds(both)
    seen, predicted = sign(change), {-1: "less", 0: "no loss", 1: "more"}[test.predicted]
    as_predicted = seen == test.predicted or (test.predicted == 0 and seen == 1)
    holds = NONE if seen is None else "yes" if as_predicted else "no"
    then = cell(over_worlds(changed))
    shown = [str(test.changed), then, cell(change), predicted, holds]
    return [str(test.usual), cell(over_worlds(usual)), *shown]
