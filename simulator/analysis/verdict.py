"""From numbers to a decision, by rules that are printed with it, beside the truth.

1. Where the arms' units differ from the planned split, or an arm hardly used its own model: invalid.
2. Where the primary metric, or a guardrail, is shown to be worse: stop. One error for all of these tests, of
   all treatments (Holm); with few events the exact test of users with one speaks instead of the interval.
   Where the primary metric is neither, what telling it would take is said too.
3. Where the primary metric is shown to be better (of several treatments: on intervals that hold together,
   Dunnett's), every limit is kept and every margin shown to be kept: ship.
4. Otherwise inconclusive, with what a conclusive test would take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from simulator.analysis.guardrails import (
    LIMITS,
    Entry,
    Guard,
    Guardrails,
    limit_guard,
    metric_guard,
    p_worse,
)
from simulator.analysis.several import holm
from simulator.analysis.srm import Srm
from simulator.metrics import BY_NAME, Metric
from simulator.results.numbers import count, error, needed, p_phrase, percent
from simulator.results.scorecard import MIN_UNITS, too_few_events

#: An arm that answered fewer of its requests by its own model, in time, says nothing about that model.
LEAST_OWN = 0.1


@dataclass(frozen=True)
class Case:
    """One treatment as it is judged.

    Attributes:
        metrics: its metric entries.
        users: of the smaller of the two arms; below MIN_UNITS no interval is trusted.
        values: by metric, the arms' own values: {"control": ..., "treatment": ...}.
        own: by arm, the share of its requests that its own model answered in time; empty where unknown.
        names: what the text calls control and treatment.
    """

    metrics: Mapping[str, Entry]
    users: int = MIN_UNITS
    values: Mapping[str, Mapping[str, Entry]] = field(default_factory=dict)
    own: Mapping[str, float] = field(default_factory=dict)
    names: tuple[str, str] = ("control", "treatment")


def verdict(
    metrics: Mapping[str, Entry], primary: str, srm: Srm, users: int = MIN_UNITS, **more: Any
) -> dict[str, Any]:
    """Judge a single treatment; see `verdicts`.

    Args:
        metrics, users: as of `Case`.
        primary, srm: as of `verdicts`.
        more: its further arguments.
    """
    return verdicts({"treatment": Case(metrics, users)}, primary, srm, **more)["treatment"]


def verdicts(
    cases: Mapping[str, Case],
    primary: str,
    srm: Srm,
    guardrails: Guardrails | None = None,
    named: Mapping[str, Metric] = BY_NAME,
) -> dict[str, dict[str, Any]]:
    """Judge all treatments of an experiment together.

    Args:
        cases: by treatment, what was found.
        primary: the metric the decision is about.
        srm: the split's check.
        guardrails: those of the experiment; the registry's by default.
        named: the metrics by name.

    Returns:
        By treatment: decision ("invalid", "stop", "ship" or "inconclusive"), text: why, rules: each rule and
        whether it held (None: not shown either way), guardrails: each one's state.
    """
    guards = Guardrails() if guardrails is None else guardrails
    trusted = {
        arm: {name: _trusted(entry, case) for name, entry in case.metrics.items()}
        for arm, case in cases.items()
    }
    asked = {
        (arm, name): margin
        for arm, metrics in trusted.items()
        for name, margin in {primary: 0.0, **guards.margins_of(metrics, primary)}.items()
    }
    p = {key: p_worse(trusted[key[0]][key[1]], named[key[1]].better, m) for key, m in asked.items()}
    known = {key: value for key, value in p.items() if value is not None}
    corrected = dict(zip(known, holm(list(known.values())), strict=True))
    return {
        arm: _judge(
            case,
            trusted[arm],
            primary,
            srm,
            {name: (asked[arm, name], corrected.get((arm, name))) for a, name in asked if a == arm},
            guards,
            named,
        )
        for arm, case in cases.items()
    }


def _judge(
    case: Case,
    metrics: Mapping[str, Entry],
    primary: str,
    srm: Srm,
    tests: Mapping[str, tuple[float, float | None]],
    guards: Guardrails,
    named: Mapping[str, Metric],
) -> dict[str, Any]:
    """One treatment; `tests` has each tested metric's margin and corrected p-value of being worse."""
    entry, metric = metrics[primary], named[primary]
    alpha = (1 - float(entry.get("level") or 0.95)) / 2
    broken = srm.status in ("alert", "empty")
    idle = {arm: share for arm, share in case.own.items() if share < LEAST_OWN}
    p = tests[primary][1]
    better, worse = _better(metric, entry), p is not None and p < alpha
    states = [
        metric_guard(named[name], metrics[name], margin, own, alpha)
        for name, (margin, own) in tests.items()
        if name != primary
    ]
    states += _limits(case, metrics, guards)
    if broken or idle:
        decision, text = "invalid", srm.text if broken else _idle(idle)
    else:
        decision, text = _decide(metrics, primary, better, worse, states, named, case.names)
    rules: list[dict[str, Any]] = [
        {"rule": "the arms' units agree with the planned split", "holds": not broken}
    ]
    if case.own:
        least = percent(LEAST_OWN, digits=0)
        rules.append(
            {
                "rule": f"each arm's own model answered at least {least} of its requests in time",
                "holds": not idle,
            }
        )
    rules += [
        {"rule": f"{metric.label} is shown to be better", "holds": better},
        {"rule": f"{metric.label} is not shown to be worse", "holds": not worse},
        *({"rule": guard.rule, "holds": guard.holds} for guard in states),
    ]
    return {"decision": decision, "text": text, "rules": rules, "guardrails": [asdict(g) for g in states]}


def _decide(
    metrics: Mapping[str, Entry],
    primary: str,
    better: bool,
    worse: bool,
    states: list[Guard],
    named: Mapping[str, Metric],
    names: tuple[str, str],
) -> tuple[str, str]:
    """The decision on a test that is sound, and why."""
    entry, metric = metrics[primary], named[primary]
    fallen = [guard for guard in states if guard.holds is False]
    unshown = [guard for guard in states if guard.holds is None]
    if worse or fallen:
        why = _stopped(metrics, [primary] if worse else [], fallen, named, names)
        untold = "" if worse or better else f" {_untold(metric, names)}.{_needed(entry)}"
        return "stop", why + untold
    if not better:
        return "inconclusive", _cannot_tell(metric, entry, names) + _truth(metric, entry) + _needed(entry)
    gain = f"The A/B shows that {names[1]} improves {metric.words}"
    found = _found(metric, entry, names) + _truth(metric, entry)
    if not unshown:
        return "ship", f"{gain}. {found}"
    why = " ".join(_unshown(guard, metrics) for guard in unshown)
    return "inconclusive", f"{gain}, but not that it keeps every guardrail. {why} {found}"


def _limits(case: Case, metrics: Mapping[str, Entry], guards: Guardrails) -> list[Guard]:
    found = []
    for name, limit in guards.limits.items():
        values = case.values.get(LIMITS[name])
        state = None if values is None else limit_guard(name, limit, values, metrics.get(LIMITS[name]))
        if state is not None:
            found.append(state)
    return found


def _trusted(entry: Entry, case: Case) -> Entry:
    """The entry without an interval that rests on too little."""
    if case.users < MIN_UNITS:
        few = f"An arm has {case.users} users; {MIN_UNITS} are needed."
        return {**entry, "ci": None, "events": None, "reason": few}
    events = entry.get("events")
    few = too_few_events(events)
    if not few or events is None:
        return entry
    counts = f"{count(events['control'])} and {count(events['treatment'])} users"
    return {**entry, "ci": None, "reason": f"{few} {counts} of {' and '.join(case.names)} have an event."}


def _better(metric: Metric, entry: Entry) -> bool:
    """Shown to be better, on the interval that is corrected for several treatments where there are."""
    if entry.get("ci") is None:
        return False
    low, high = entry.get("ci_together") or entry["ci"]
    return bool(low > 0 if metric.better == "higher" else high < 0)


def _idle(idle: Mapping[str, float]) -> str:
    shares = " and ".join(f"{arm} {percent(share)}" for arm, share in idle.items())
    return (
        f"No verdict: of its requests, {shares} were answered by the arm's own model in time. What was shown "
        "came from lighter steps and the prior order. Lower the load, raise the budget or add scorers."
    )


def _stopped(
    metrics: Mapping[str, Entry],
    worse: list[str],
    fallen: list[Guard],
    named: Mapping[str, Metric],
    names: tuple[str, str],
) -> str:
    shown = worse + [guard.name for guard in fallen if not guard.text]
    found = []
    if shown:
        words = " and ".join(named[name].words for name in shown)
        found = [f"The A/B shows that {names[1]} worsens {words}."]
        found += [_found(named[n], metrics[n], names) + _truth(named[n], metrics[n]) for n in shown]
    return " ".join([*found, *(f"A guardrail is broken: {guard.text}" for guard in fallen if guard.text)])


def _unshown(guard: Guard, metrics: Mapping[str, Entry]) -> str:
    if guard.text:
        return guard.text
    entry = metrics[guard.name]
    found = f"its interval is {_interval(entry)}" if entry.get("ci") else "there is no interval"
    return f"Not shown: {guard.rule}; {found}."


def _lift(share: float) -> str:
    return percent(share, signed=True)


def _interval(entry: Entry) -> str:
    low, high = entry["ci"]
    return f"{_lift(low)} to {_lift(high)}"


def _found(metric: Metric, entry: Entry, names: tuple[str, str]) -> str:
    if entry.get("ci") is None:
        events = entry["events"]
        return (
            f"{count(events['treatment'])} users of {names[1]} and {count(events['control'])} of {names[0]} "
            f"have any ({p_phrase(events['p_value'])}, exact test)."
        )
    level = f"{100 * entry['level']:g}%"
    found = f"{_lift(entry['lift'])} ({level} interval {_interval(entry)})"
    return f"Its estimate for {metric.words} is {found}."


def _untold(metric: Metric, names: tuple[str, str]) -> str:
    return f"The A/B test cannot say whether {names[1]} changes {metric.words}"


def _cannot_tell(metric: Metric, entry: Entry, names: tuple[str, str]) -> str:
    if entry.get("ci") is None:
        why = entry.get("reason") or "There is no interval."
        return f"{_untold(metric, names)}. {why}"
    text = f"{_untold(metric, names)}: the {100 * entry['level']:g}% interval is {_interval(entry)}."
    if entry.get("mde") is not None:
        text += f" A test of this size detects a lift of {percent(entry['mde'])} with 80% power."
    return text


def _truth(metric: Metric, entry: Entry) -> str:
    """Only of a simulation, whose entries say what is true, or that it is not known."""
    if "true_lift" not in entry:
        return ""
    lift, ci = entry["true_lift"], entry.get("ci")
    if lift is None:
        return " The truth is not known: no all-control and all-treatment worlds were run."
    text = f" The truth for {metric.words}, which only a simulation knows, is {_lift(lift)}"
    if entry.get("true_se") is not None:
        text += f" (standard error {error(entry['true_se'])})"
    if ci is not None and not ci[0] <= lift <= ci[1]:
        text += "; the interval leaves it out"
    return text + "."


def _needed(entry: Entry) -> str:
    """What a conclusive test would take, for the true lift."""
    size = entry.get("needed")
    if not size:
        return ""
    return f" To tell a lift of {_lift(size['lift'])} with 80% power takes {needed(size, entry.get('n'))}."
