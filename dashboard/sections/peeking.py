"""The peeking lab: simulated tests looked at every day, stopped by three rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.draw import chart
from dashboard.sections import apart_charts
from dashboard.words import plain
from dashboard.work.commands import as_typed, laser_ab
from dashboard.work.places import read_only
from simulator.results import numbers

RULES = {
    "fixed": "the interval of one look, at every look",
    "group-sequential": "bounds that share the error among the planned days",
    "always-valid": "intervals that hold on all days at once",
}
LEVEL = 0.95  # of every rule


def section() -> None:
    """Controls, the command that does the same, and its answer."""
    st.write(
        "Whoever looks at a running test every day, and stops when it shows something, finds effects that "
        "are not there. Set the true lift to 0 and see how often each rule of stopping does; set another and "
        "see how soon it finds it."
    )
    columns = st.columns(3)
    looks = columns[0].slider("Days, one look each", 2, 30, 14, key="looks", bind="query-params")
    users = columns[1].select_slider(
        "Users of an arm at the end", [400, 700, 1400, 2800, 5600], 1400, key="lab_users", bind="query-params"
    )
    percent = columns[2].slider("True lift (%)", 0, 40, 0, key="lab_lift", bind="query-params")
    lift = percent / 100
    arguments = ["validate", "peek", "--looks", str(looks), "--users", str(users), "--lift", f"{lift:g}"]
    st.code(as_typed(arguments), language=None, wrap_lines=True)
    if read_only():
        st.info("Nothing is simulated here: this dashboard is read-only.")
        return
    if not st.toggle("Simulate", key="lab", bind="query-params", help="2,000 tests; some seconds."):
        return
    answer = _peek(tuple(arguments))
    if isinstance(answer, str):
        st.error(plain(answer))
        return
    _draw(answer)


@st.cache_data(show_spinner="Simulating 2,000 tests…", max_entries=64)
def _peek(arguments: tuple[str, ...]) -> dict[str, Any] | str:
    """What the command says; a text where it fails."""
    done = laser_ab(*arguments, "--json")
    if done.code:
        return done.err or "The simulation gave no answer."
    found: dict[str, Any] = json.loads(done.out)
    return found


def _draw(found: Mapping[str, Any]) -> None:
    rows = pd.DataFrame(
        [
            {"rule": rule, "look": look, "called": share}
            for rule, one in found["rules"].items()
            for look, share in enumerate(one["by_look"], 1)
        ]
    )
    words = "; ".join(f"{rule} {numbers.percent(one['called'])}" for rule, one in found["rules"].items())
    none = not found["lift"]
    chart(
        apart_charts.peeking,
        rows,
        f"Tests that called a difference by each look, by rule. By the end: {words}",
        level=LEVEL if none else None,
    )
    what = (
        "Called a difference that is not there"
        if none
        else f"Found the lift of {numbers.lift(found['lift'])}"
    )
    table = [
        {
            "Rule": rule,
            "What it is": RULES[rule],
            what: f"{numbers.percent(one['called'])} ± {numbers.error(one['called_se'])}",
            "Users seen when it stopped": numbers.percent(one["users_seen"], digits=0),
        }
        for rule, one in found["rules"].items()
    ]
    st.table(pd.DataFrame(table), border="horizontal", hide_index=True)
    example = pd.DataFrame(
        [
            {
                "Day": str(day["look"]),
                "Users": numbers.count(day["users"]),
                "Lift": f"{numbers.lift(day['lift'])} ± {numbers.error(day['se'])}",
                "Stopped by": ", ".join(rule for rule, by_then in day["called"].items() if by_then)
                or numbers.MISSING,
            }
            for day in found["example"]
        ]
    )
    with st.expander("The first of these tests, day by day"):
        st.table(example, border="horizontal", hide_index=True)
    line = " The dashed line is the error that was planned." if none else ""
    st.caption(
        f"Clicks per impression of {numbers.count(found['users'])} users in both arms, who come evenly; "
        f"{numbers.count(found['tests'])} tests.{line}"
    )
