"""What the comparison of designs means: a sentence for each, and which one to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.designs.design import Design
from simulator.metrics import BY_NAME
from simulator.results.numbers import MISSING, error, percent

#: Of its standard error: a bias further from 0 is shown. Many are looked at, so more than the usual 1.96.
SHOWN = 3.0
#: Of a design's own standard deviation: a smaller bias moves the coverage of 95 % intervals by less than 1 %.
SMALL = 0.25

Found = Mapping[str, Any]


def explained(found: Found, designs: Sequence[Design], primary: str) -> dict[str, Any]:
    """What `compare_designs` found, with a sentence for each design, and which one to choose.

    Args:
        found: of these designs.
        designs: the simplest first.
        primary: the experiment's metric; the first of those that were compared stands in for another.

    Returns:
        `found`; each of its designs has "sentence", of the metric that the arms do most to, and "sentences",
        by metric. "choice" is which one to take, and why.
    """
    own = {}
    for d in designs:
        result = found["designs"][d.name]
        by_metric = {name: sentence(d, result, found, name) for name in result.get("metrics", ())}
        own[d.name] = {**result, "sentence": sentence(d, result, found), "sentences": by_metric}
    metric = primary if primary in found["truth"] else next(iter(found["truth"]))
    return {**found, "designs": own, "choice": choice(designs, own, metric)}


def points(value: float | None, *, signed: bool = True) -> str:
    """A difference of logarithms of ratios, about one of lifts: 0.102 -> "+10.2 points"."""
    text = percent(value, signed=signed)
    return text if text == MISSING else f"{text.removesuffix('%')} points"


def points_error(value: float | None) -> str:
    """The standard error of such a difference: 0.0023 -> "0.23 points"."""
    text = error(value)
    return text if text == MISSING else f"{text.removesuffix('%')} points"


def is_biased(judged: Found) -> bool:
    """Whether the arms are shown to move each other, by more than is small beside the design's own error."""
    return _is_shown(judged) and bool(abs(judged["interference"]) > SMALL * judged["sd"])


def _is_shown(judged: Found) -> bool:
    return bool(abs(judged["interference"]) > SHOWN * judged["interference_se"])


def worst(metrics: Mapping[str, Found]) -> str:
    """The metric whose interference is furthest from 0, in its standard errors."""
    return max(metrics, key=lambda name: _distance(metrics[name]))


def _distance(judged: Found) -> float:
    size, se = abs(judged["interference"]), judged["interference_se"]
    return float(size / se) if se > 0 else float(size > 0) * float("inf")


def sentence(design: Design, result: Found, found: Found, metric: str | None = None) -> str:
    """What the arms do to each other under a design on this market, and why.

    Args:
        design: which.
        result: its own, of `found`.
        found: of all designs.
        metric: which is spoken of; by default the one that the arms do most to.
    """
    truth, worlds = found["truth"], found["worlds"]
    if "reason" in result:
        return f"{design.name}: {result['reason']}"
    metrics = result["metrics"]
    if not metrics:
        return f"{design.name}: too few events for an interval."
    name = metric or worst(metrics)
    judged, words = metrics[name], BY_NAME[name].words
    size = f"{points(judged['interference'])} (standard error {points_error(judged['interference_se'])})"
    if not any(own["interference"] for own in metrics.values()):
        return f"{design.name}: the arms do nothing to each other."
    if not _is_shown(judged):
        most = "the largest is " if metric is None else ""
        return f"{design.name}: no effect of the arms on each other is shown; {most}{size}, of {words}."
    small = (
        ""
        if is_biased(judged)
        else f" Its own error is {points(judged['sd'], signed=False)}, which hides it."
    )
    return (
        f"{design.name}: for {words} it shows {percent(judged['estimate'], signed=True)} where "
        f"{percent(truth[name]['lift'], signed=True)} is true. {size} of that the arms do to each other: "
        f"{design.why}.{_budgets(worlds) if 'budget' in design.why else ''}{small}"
    )


def _budgets(worlds: Mapping[str, Found]) -> str:
    shares = [f"{percent(world['exhausted_share'])} with {name} alone" for name, world in worlds.items()]
    return f" Of the daily budgets, {' and '.join(shares)} run out."


def choice(designs: Sequence[Design], results: Mapping[str, Found], primary: str) -> dict[str, Any]:
    """The simplest design without a bias that is shown to matter; where all have one, the most exact.

    Args:
        designs: the simplest first.
        results: by name, as `compare_designs` gives them.
        primary: the metric by which the most exact is found.

    Returns:
        "design": its name, None where no design could be judged; "text": why.
    """
    judged = {d.name: results[d.name]["metrics"] for d in designs if results[d.name].get("metrics")}
    sound = [name for name, metrics in judged.items() if not any(map(is_biased, metrics.values()))]
    if sound:
        better = "" if sound[0] == next(iter(judged)) else ", and the simpler ones have one"
        return {
            "design": sound[0],
            "text": f"Choose the {sound[0]}: the simplest without a bias that is shown to matter{better}.",
        }
    known = {name: metrics[primary]["rmse"] for name, metrics in judged.items() if primary in metrics}
    if not known:
        return {"design": None, "text": "No design could be judged: there were too few events."}
    least = min(known, key=lambda name: known[name])
    words = BY_NAME[primary].words
    return {
        "design": least,
        "text": f"Every design is biased here. Of these, the {least} comes closest to the truth of {words}: "
        f"{points(known[least], signed=False)} off, bias and its own error together.",
    }
