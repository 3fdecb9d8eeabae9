"""Whether the experiment can be trusted: warnings, its split, its users before it, what it can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, head, states, verdicts
from dashboard.balance import COLUMNS, LARGE, Balance, balance
from dashboard.draw import chart, ink
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.read import Run, read_run
from simulator.results.scorecard import (
    OUTSIDE,
    SOUND,
    arm_users,
    arms_of,
    checked_for_faults,
    control_name,
    effects,
    faults,
    heavy_tails,
    primary,
    split_is_off,
    treatment_names,
)

TIMES = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)  # of this run's traffic; further where more is needed


def page() -> None:
    """Draw the page."""
    run, card = head.open_judged("Health")
    if run is None or card is None:
        return
    arm = verdicts.pick_treatment(treatment_names(card))
    warnings(card)
    split(card)
    before(run, card, arm)
    detectable(card, arm)


def warnings(card: Mapping[str, Any]) -> None:
    """Everything that speaks against a number of this run; or that nothing does."""
    found = [*faults(card), *heavy_tails(card)]
    if split_is_off(card):
        found.append("Sample ratio mismatch: the arms' users differ from the configured split.")
    missing = {effect.reason: None for effect in effects(card) if effect.reason}
    found += [f"No estimate or interval: {reason}" for reason in missing]
    outside = {name: arm.get("outside_profile") or 0 for name, arm in arms_of(card).items()}
    found += [
        f"{name}: {numbers.count(n)} service times were asked for outside what was measured. {OUTSIDE}"
        for name, n in outside.items()
        if n
    ]
    wrong = [e for e in effects(card) if e.enough and e.covered is False]
    found += [
        f"{numbers.metric_form(e.metric, e.unit).label} of {e.arm}: the interval leaves the truth out. One "
        f"in {1 / (1 - (e.level or 0.95)):.0f} intervals does, by chance."
        for e in wrong
    ]
    st.subheader("Warnings")
    for text in found:
        st.warning(plain(text))
    if not found:
        st.write("None.")
    if checked_for_faults(card) and not faults(card):
        st.caption(SOUND)


def split(card: Mapping[str, Any]) -> None:
    """Users by arm, as they are and as configured."""
    st.subheader("Split")
    users = arm_users(card)
    total, planned = sum(arm.users for arm in users), sum(arm.expected for arm in users)
    rows = [
        {
            "Arm": arm.name,
            "Users": numbers.count(arm.users),
            "Share": numbers.percent(arm.users / total if total else None, digits=2),
            "Configured": numbers.percent(arm.expected / planned if planned else None, digits=2),
            "Expected users": numbers.count(round(arm.expected)),
        }
        for arm in users
    ]
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    st.write(plain((card.get("srm") or {}).get("text") or "The split was not tested."))


def before(run: Run, card: Mapping[str, Any], arm: str) -> None:
    """The arms' users before the experiment, when control served them all."""
    st.subheader("Before the experiment")
    if not run.has("users.parquet"):
        states.not_yet("Users", run)
        return
    rows = _balance(str(run.path), run.created, control_name(card), arm)
    if not any(row.control or row.treatment for row in rows):
        st.write("There was no time before it, or no user in an arm: nothing to compare.")
        return
    shown = [
        {
            "Per user, before": numbers.total_label(row.total),
            control_name(card): numbers.plain_number(row.control),
            arm: numbers.plain_number(row.treatment),
            "Difference (standard deviations)": numbers.MISSING
            if row.difference is None
            else f"{row.difference:+.3f}".replace("-", numbers.MINUS),
            "p": numbers.p_value(row.p_value),
        }
        for row in rows
    ]
    st.table(pd.DataFrame(shown), border="horizontal", hide_index=True)
    apart = [row for row in rows if row.difference is not None and abs(row.difference) > LARGE]
    large = [numbers.total_label(row.total) for row in apart]
    words = f"Above {LARGE:g} standard deviations: {', '.join(large)}. " if large else ""
    st.caption(
        f"{words}All users were served by the control then, so only chance separates the arms. CUPED takes "
        "such differences out of the estimates."
    )


@st.cache_data(show_spinner=False, max_entries=16)
def _balance(folder: str, created: str, control: str, arm: str) -> list[Balance]:
    return balance(read_run(folder).table("users", ["arm", *COLUMNS]), control, arm)


def detectable(card: Mapping[str, Any], arm: str) -> None:
    """What a test of this size can tell, and one of more traffic."""
    st.subheader("What it can tell")
    effect = primary(card, arm)
    if effect is None or effect.mde is None or not effect.n or not effect.enough:
        st.write("Not enough data to say what lift it could find.")
        return
    label = numbers.metric_form(effect.metric, effect.unit).label
    needed = arms_of(card)[arm]["metrics"][effect.metric].get("needed")
    enough = needed["requests"] / effect.n if needed else 0.0
    sizes = [*TIMES, *(times for times in (enough, 2 * enough) if times > TIMES[-1])]
    # The standard error of the logarithm falls as one over the root of the requests.
    rows = pd.DataFrame(
        {
            "requests": [round(effect.n * times) for times in sizes],
            "mde": [math.expm1(math.log1p(effect.mde) / math.sqrt(times)) for times in sizes],
            "own": [times == 1 for times in sizes],
        }
    )
    words = f"Smallest detectable lift in {label} over requests"
    chart(charts.mde, rows, words, true_lift=effect.true_lift, ink=ink())
    st.write(
        f"With its {numbers.count(effect.n)} requests a lift of {numbers.percent(effect.mde)} in {label} is "
        "found with 80% power."
    )
    if needed:
        takes = numbers.needed(needed, effect.n)
        st.write(f"To find the true lift of {numbers.lift(needed['lift'])} takes {takes}.")


page()
