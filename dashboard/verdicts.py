"""The verdict on a treatment, with its guardrails beside it, for a run or for a sweep's cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.words import plain
from simulator.results import numbers, report
from simulator.results.overview import overview
from simulator.results.scorecard import arms_of, control_name, split_is_off, verdict_of

DECISIONS = {
    "ship": (st.success, "Ship"),
    "stop": (st.error, "Stop"),
    "invalid": (st.error, "Invalid"),
    "inconclusive": (st.info, "Inconclusive"),
}
MARKS = {True: "✓", False: "✗", None: "?"}
# What the latency budget costs, as guardrails name it: P99 alone looks fine where the ladder keeps it in.
WATCHED = {"p99_ms": "p99_ms", "missed_share": "late_share", "degraded_share": "degraded_share"}


def pick_treatment(names: Sequence[str]) -> str:
    """Which treatment to show; a control only where there are several."""
    if len(names) == 1:
        return names[0]
    chosen = st.segmented_control(
        "Treatment", names, default=names[0], required=True, key="arm", bind="query-params"
    )
    return str(chosen)


def side_by_side(card: Mapping[str, Any]) -> None:
    """All arms in one table, where there are several treatments."""
    rows = overview(card)
    if rows:
        headings = [heading[0].upper() + heading[1:] for heading in rows[0]]
        st.table(pd.DataFrame(rows[1:], columns=headings), border="horizontal", hide_index=True)


def verdict(card: Mapping[str, Any], arm: str) -> None:
    """The verdict in words, in the colour of its decision, and the guardrails beside it."""
    found = verdict_of(card, arm)
    left, right = st.columns([3, 2])
    show, heading = DECISIONS["invalid" if split_is_off(card) else found["decision"]]
    with left:
        show(f"**{heading}.** {plain(found['text'])}")
    with right:
        guardrails(card, arm)
    rules = report.rules_of(card, arm)
    if rules:
        with st.expander("The rules of the verdict, and which held"):
            st.write("  \n".join(plain(rule) for rule in rules))


def guardrails(card: Mapping[str, Any], arm: str) -> None:
    """Every guardrail's state; below them what else the latency budget costs treatment and control."""
    values = {name: entry.get("values") or {} for name, entry in arms_of(card).items()}
    control = control_name(card)
    states = verdict_of(card, arm).get("guardrails") or ()
    lines = [f"{MARKS[state['holds']]} {plain(state['text'] or state['rule'])}" for state in states]
    if lines:
        lines = ["**Guardrails, by the A/B** (✓ kept, ✗ broken, ? not shown)", *lines]
    others = []
    for name, guardrail in WATCHED.items():
        form = numbers.metric_form(name)
        own, other = ((values.get(one, {}).get(name) or {}).get("value") for one in (arm, control))
        if own is not None and guardrail not in {state["name"] for state in states}:
            others.append(f"{form.label}: {form.form(own)}, control {form.form(other)}")
    if others:
        lines += ["", "**Without a limit, by the A/B**", *others]
    st.markdown("  \n".join(lines))
