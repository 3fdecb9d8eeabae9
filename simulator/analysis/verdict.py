"""From numbers to a decision, in plain words beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.analysis.srm import Srm
from simulator.metrics import BY_NAME, GUARDRAILS
from simulator.results.numbers import percent
from simulator.results.scorecard import MIN_UNITS


def verdict(
    metrics: Mapping[str, Mapping[str, Any]], primary: str, srm: Srm, users: int = MIN_UNITS
) -> dict[str, Any]:
    """Judge a treatment.

    Args:
        metrics: the scorecard's metric entries.
        primary: the metric the decision is about.
        srm: the split's check.
        users: of the smaller of the two arms; below MIN_UNITS no interval is trusted.

    Returns:
        decision: "invalid" (the split is broken), "stop" (the primary metric, or a guardrail, is shown
            to be worse), "ship" (the primary is shown to be better and no guardrail worse) or
            "inconclusive"; text: why; rules: each rule and whether it held.
    """
    if users < MIN_UNITS:
        few = f"An arm has {users} users; {MIN_UNITS} are needed."
        metrics = {name: {**entry, "ci": None, "reason": few} for name, entry in metrics.items()}
    entry = metrics[primary]
    broken = srm.status in ("alert", "empty")
    better, worse = _better(primary, entry), _worse(primary, entry)
    guardrails = [metric.name for metric in GUARDRAILS if metric.name != primary]
    fallen = [name for name in guardrails if _worse(name, metrics.get(name, {}))]
    rules = [
        {"rule": "the arms' units agree with the planned split", "holds": not broken},
        {"rule": f"the interval of {primary} lies on the good side of 0", "holds": better},
        {"rule": f"the interval of {primary} does not lie on the bad side of 0", "holds": not worse},
        {
            "rule": f"no interval of {', '.join(guardrails)} lies on the bad side of 0",
            "holds": not fallen,
        },
    ]
    if broken:
        decision, text = "invalid", srm.text
    elif worse or fallen:
        worsened = ([primary] if worse else []) + fallen
        names = " and ".join(BY_NAME[name].words for name in worsened)
        found = [_found(name, metrics[name]) + " " + _truth(name, metrics[name]) for name in worsened]
        decision, text = "stop", f"The A/B shows that treatment worsens {names}. {' '.join(found)}"
    elif better:
        text = f"The A/B shows that treatment improves {BY_NAME[primary].words}. {_found(primary, entry)}"
        decision, text = "ship", f"{text} {_truth(primary, entry)}"
    else:
        decision, text = "inconclusive", f"{_cannot_tell(primary, entry)} {_truth(primary, entry)}"
    return {"decision": decision, "text": text, "rules": rules}


def _better(name: str, entry: Mapping[str, Any]) -> bool:
    ci = entry.get("ci")
    return ci is not None and (ci[0] > 0 if BY_NAME[name].better == "higher" else ci[1] < 0)


def _worse(name: str, entry: Mapping[str, Any]) -> bool:
    ci = entry.get("ci")
    return ci is not None and (ci[1] < 0 if BY_NAME[name].better == "higher" else ci[0] > 0)


def _lift(share: float) -> str:
    return percent(share, signed=True)


def _interval(entry: Mapping[str, Any]) -> str:
    low, high = entry["ci"]
    return f"{_lift(low)} to {_lift(high)}"


def _found(name: str, entry: Mapping[str, Any]) -> str:
    level = f"{100 * entry['level']:g}%"
    found = f"{_lift(entry['lift'])} ({level} interval {_interval(entry)})"
    return f"Its estimate for {BY_NAME[name].words} is {found}."


def _cannot_tell(name: str, entry: Mapping[str, Any]) -> str:
    if entry.get("ci") is None:
        why = entry.get("reason") or "There is no interval."
        return f"The A/B test cannot say whether treatment changes {BY_NAME[name].words}. {why}"
    text = (
        f"The A/B test cannot say whether treatment changes {BY_NAME[name].words}: "
        f"the {100 * entry['level']:g}% interval is {_interval(entry)}."
    )
    if entry.get("mde") is not None:
        text += f" A test of this size detects a lift of {percent(entry['mde'])} with 80% power."
    return text


def _truth(name: str, entry: Mapping[str, Any]) -> str:
    lift, ci = entry.get("true_lift"), entry.get("ci")
    if lift is None:
        return "The truth is not known: no all-control and all-treatment worlds were run."
    text = f"The truth for {BY_NAME[name].words}, which only a simulation knows, is {_lift(lift)}"
    if entry.get("true_se") is not None:
        text += f" (standard error {percent(entry['true_se'])})"
    if ci is not None and not ci[0] <= lift <= ci[1]:
        text += "; the interval leaves it out"
    return text + "."
