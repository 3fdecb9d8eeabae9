"""Answers in words, for a terminal and for lists. Start at `answer_lines`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simulator.results import numbers
from simulator.results.answers.grid import words
from simulator.results.answers.worth import most_worth
from simulator.results.axes import Axis
from simulator.results.numbers import MISSING

_MOST_LINES = 12  # of one answer: the JSON form has all
_FEW = 2  # settings that are named one by one
_BROKEN = {
    "p99_ms": "the limit of P99",
    "missed_share": "that of late answers",
    "degraded_share": "that of degraded answers",
    "revenue_per_request": "the floor of revenue",
}
_ASKED = {
    "p99_ms": "P99",
    "missed_share": "late answers",
    "degraded_share": "degraded answers",
    "revenue_per_request": "revenue",
}
_ENDS = {
    "p99_ms": "P99 ends it",
    "missed_share": "late answers end it",
    "degraded_share": "degraded answers end it",
}
Record = Mapping[str, Any]


def answer_lines(answers: Mapping[str, Any], axes: Sequence[Axis]) -> list[str]:
    """Every answer: first the question, then a line for each setting, in their order."""
    parts = (
        ("Is it worth it?", [_worth(one, axes) for one in answers["worth"]], None),
        ("Treatment against treatment", [_versus(one, axes) for one in answers["versus"]], None),
        ("What would another world and another training say?", _seeds(answers, axes), None),
        _edges("Down to which latency budget does it win?", answers["break_even_ms"], axes),
        _edges("How much traffic does an arm take within its limits?", answers["max_requests_per_s"], axes),
        _cheapest(answers["cheapest"], axes),
        ("Which settings does no other beat in lift, P99 and cost?", _fronts(answers["pareto"], axes), None),
    )
    head = [*_terms(answers["terms"]), *_comparing(answers["worth"])]
    return [*head, *(line for part in parts for line in _part(*part))]


def in_short(answers: Mapping[str, Any], axes: Sequence[Axis]) -> str:
    """What a sweep says in a line, by the truth: where it is worth it, and what is the cheapest."""
    return f"{worth_in_short(answers['worth'], axes)}; {cheapest_in_short(answers['cheapest'], axes)}"


def worth_in_short(entries: Sequence[Record], axes: Sequence[Axis]) -> str:
    """At how many settings a treatment is worth it in truth, and at which most.

    Args:
        entries: the answer `worth`.
        axes: the sweep's.
    """
    names = list(dict.fromkeys(one["treatment"] for one in entries))
    counts = []
    for name in names:
        own = [one for one in entries if one["treatment"] == name]
        counts.append(f"{sum(one['true_worth'] is True for one in own)} of {len(own)}")
    if len(names) > 1:
        each = [f"{name} at {count}" for name, count in zip(names, counts, strict=True)]
        text = f"worth it: {', '.join([f'{each[0]} settings', *each[1:]])}"
    else:
        text = f"worth it at {counts[0] if counts else '0 of 0'} settings"
    best = most_worth(entries)
    if best is None:
        return text
    name = f"with {best['treatment']} " if len(names) > 1 else ""
    rivals = [_rival(one, best, axes, len(names) > 1) for one in entries if _may_be_most(one)]
    others = f"{len(rivals)} others" if len(rivals) > _FEW else " or ".join(rivals)
    apart = f", not told apart from {others}" if rivals else ""
    return f"{text}, most {name}at {words(axes, best['at'])}{apart}"


def _may_be_most(one: Record) -> bool:
    """Whether nothing tells it from the setting that is worth most, and it is another."""
    short = one["short_of_most"]
    return one["true_worth"] is not False and short is not None and not short["told_apart"]


def _rival(one: Record, best: Record, axes: Sequence[Axis], several: bool) -> str:
    """By what differs from the best: the treatment, the settings, or both."""
    at = words(axes, {key: value for key, value in one["at"].items() if value != best["at"][key]})
    return f"{one['treatment']}{f' at {at}' if at else ''}" if several else at


def cheapest_in_short(one: Record, axes: Sequence[Axis]) -> str:
    """The cheapest that holds everything in truth, in a few words, or why there is none.

    Args:
        one: a record of the answer `cheapest`, or that answer itself.
        axes: the sweep's.
    """
    option, asked = one["true_value"], words(axes, one["at"])
    if option is None:
        return f"{one['reason']}{f' (at {asked})' if asked else ''}"
    chosen = words(axes, {key: value for key, value in option["at"].items() if key not in one["at"]})
    name = f"{option['arm']}, {chosen}," if chosen else option["arm"]
    return f"{name} is the cheapest that holds all{f' at {asked}' if asked else ''}{_as_good(one['as_good'])}"


def _as_good(others: Sequence[Record]) -> str:
    return f", not told apart from {_count(len(others), 'other')} as cheap" if others else ""


def _part(title: str, lines: Sequence[str], reason: str | None) -> Iterator[str]:
    if not lines and reason is None:
        return
    yield f"\n{title}"
    if reason is not None:
        yield f"  Not told: {reason}."
    yield from (f"  {line}" for line in lines[:_MOST_LINES])
    if len(lines) > _MOST_LINES:
        yield f"  ... and {len(lines) - _MOST_LINES} more: --json has them all."


def _terms(terms: Mapping[str, Any]) -> list[str]:
    p99 = terms["p99_ms"]
    asked = [f"P99 within {'the latency budget' if isinstance(p99, str) else numbers.ms(p99)}"]
    asked.append(f"at most {numbers.share(terms['late_share'])} late")
    if terms["degraded_share"] is not None:
        asked.append(f"at most {numbers.share(terms['degraded_share'])} degraded")
    floor = terms["revenue_floor"]
    asked.append(
        "revenue not below control's" + (f" by more than {numbers.percent(-floor)}" if floor else "")
    )
    return [f"Asked of a setting: {', '.join(asked)}."]


def _comparing(entries: Sequence[Record]) -> list[str]:
    """How it is told which setting is worth most, where there are several."""
    paired = {one["short_of_most"]["paired"] for one in entries if one["short_of_most"]}
    if not paired:
        return []
    how = "in the same users" if True in paired else "by their own errors, as if they were of different users"
    others = ", those of other worlds by their own errors" if len(paired) > 1 else ""
    return [f"True lifts are compared {how}{others}."]


def _worth(one: Record, axes: Sequence[Axis]) -> str:
    worth = {True: "worth it", False: "not worth it", None: "too close to call in this world"}[
        one["true_worth"]
    ]
    broken = ", ".join(_BROKEN[name] for name in one["breaks"])
    text = f"{_where(one, axes)}{one['treatment']}: {worth}{f' (breaks {broken})' if broken else ''}. "
    apart = ", not told apart from the most" if _may_be_most(one) else ""
    text += f"True lift {_true(one)}{apart}; the A/B: {_told(one)}."
    return text + (_size(one["needed"], "tell the lift") if one["told"] is None else "")


def _size(needed: Record | None, what: str = "tell it") -> str:
    return f" To {what} takes about {numbers.about(needed['requests'])} requests." if needed else ""


def _versus(one: Record, axes: Sequence[Axis]) -> str:
    names = f"{one['treatment']} over {one['against']}"
    apart = ", not distinguished" if one["told_apart"] is False else ""
    return f"{_where(one, axes)}{names}: true {_true(one)}{apart}; the A/B: {_told(one)}."


def _seeds(answers: Record, axes: Sequence[Axis]) -> list[str]:
    lines = []
    for one in answers["replications"]:
        least, most = numbers.lift(one["least"]), numbers.lift(one["most"])
        text = f"{_where(one, axes)}{one['treatment']}: true lift {numbers.lift(one['true_value'])} ± "
        text += f"{numbers.error(one['se'])} over {one['seeds']} seeds, {least} to {most}; spread "
        text += f"{numbers.percent(one['spread'])}, the error in one world {numbers.percent(one['within'])}"
        lines.append(
            f"{text}. A/B intervals that hold their truth: {numbers.percent(one['covered'], digits=0)}."
        )
    return lines


def _edges(title: str, answer: Record, axes: Sequence[Axis]) -> tuple[str, list[str], str | None]:
    records = answer["all"]
    return title, [_edge(one, axes) for one in records], None if records else answer["reason"]


def _edge(one: Record, axes: Sequence[Axis]) -> str:
    form = numbers.ms if one["unit"] == "ms" else _rate
    if one["true_value"] is None:
        return f"{_where(one, axes)}{one['reason']}."
    head = f"{_where(one, axes)}{one['arm']}: "
    error = f" ± {form(one['true_se'])}" if one["true_se"] is not None else ""
    least, most = one["between"]
    text = f"{head}{form(one['true_value'])}{error}, between the simulated {form(least)} and {form(most)}"
    if one.get("limit"):
        text += f", where {_ENDS[one['limit']]}"
    if one["told"] is not None:
        return f"{text}; {one['told']}.{_size(one['needed'])}"
    ends = " to ".join("any" if end is None else form(end) for end in one["ci"])
    shown = "and cannot tell" if ends == "any to any" else ends
    return f"{text}; the A/B: {form(one['value'])}, {shown}.{_size(one['needed'])}"


def _cheapest(answer: Record, axes: Sequence[Axis]) -> tuple[str, list[str], str | None]:
    lines = []
    for one in answer["all"]:
        true, shown = one["true_value"], one["value"]
        if true is None:
            lines.append(f"{_where(one, axes)}{one['reason']}.")
            continue
        text = f"{_option(true, axes)}{_as_good(one['as_good'])}."
        if shown is None:
            text += " The A/B shows of no setting that it holds."
        elif (shown["arm"], shown["cell"]) != (true["arm"], true["cell"]):
            text += f" By what the A/B shows: {_option(shown, axes)}."
        doubts = " and ".join(_ASKED[name] for name in true["doubts"])
        lines.append(text + _size(one["needed"], f"show what is asked of {doubts}"))
    return "What is the cheapest that holds it?", lines, None if lines else answer.get("reason")


def _fronts(answer: Record, axes: Sequence[Axis]) -> list[str]:
    return [f"{_option(option, axes)}." for front in answer["all"] for option in front["true_value"]]


def _option(option: Record, axes: Sequence[Axis]) -> str:
    servers = f"{_count(option['scorers'], 'scorer')}, {_count(option['store_workers'], 'store worker')}"
    p99 = numbers.ms(option["p99_ms"]["true_value"])
    lift = numbers.lift(option["lift"]["true_value"])
    cost = f"{option['per_hour']:.4g} per hour"
    if option["per_million_requests"] is not None:
        cost += f", {option['per_million_requests']:.3g} per million requests"
    return f"{_where(option, axes)}{option['arm']}: true lift {lift}, P99 {p99}, {servers}, {cost}"


def _count(number: int | None, name: str) -> str:
    return f"{MISSING if number is None else number} {name}{'' if number == 1 else 's'}"


def _where(one: Record, axes: Sequence[Axis]) -> str:
    at = words(axes, one["at"])
    return f"{at}; " if at else ""


def _true(one: Record) -> str:
    error = "" if one["true_se"] is None else f" ± {numbers.error(one['true_se'])}"
    return numbers.lift(one["true_value"]) + error


def _told(one: Record) -> str:
    ends = numbers.interval(one["ci"], numbers.lift)
    return numbers.NOT_ENOUGH if ends == MISSING else f"{numbers.lift(one['value'])} ({ends})"


def _rate(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f} requests/s"
