"""What is true in other worlds, with models trained there: a run's truth is of its own users and models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import draw
from dashboard.sections.answers import answer
from dashboard.tiles import Z
from simulator.results import numbers
from simulator.results.beside import asked
from simulator.results.read import Run
from simulator.results.scorecard import Effect, primary

SEEDS = 8


def section(run: Run, card: Mapping[str, Any]) -> None:
    """The lift of each world and of all, and how far worlds are apart."""
    spent_s = asked.seconds_of(run)
    minutes = "" if spent_s is None else f", {numbers.duration(SEEDS * spent_s)}"
    found = answer(
        run,
        "truth",
        f"It trains and serves both arms in {SEEDS} worlds: about {SEEDS} times what the run took{minutes}.",
        ("--seeds", str(SEEDS)),
    )
    if found is None:
        return
    first = primary(card)
    names = list(found["metrics"])
    metric = first.metric if first is not None and first.metric in names else names[0]
    own = found["metrics"][metric]
    label = numbers.metric_form(metric).label
    seeds = [
        (f"seed {one['seed']}", one["lift"], _ends(one["lift"], one["se_log"])) for one in own["by_seed"]
    ]
    everywhere = [("all worlds", own["lift"], tuple(own["ci"]) if own["ci"] else (None, None))]
    shown = seeds + everywhere
    draw.lifts(
        [_effect(metric, found["treatment"], lift, ends) for _, lift, ends in shown],
        f"True lift in {label} by world. "
        + "; ".join(f"{name} {numbers.lift(lift)}" for name, lift, _ in shown),
        labels=[name for name, *_ in shown],
        legend=False,
    )
    rows = [
        {
            "Metric": numbers.metric_form(name).label,
            f"True lift ({numbers.level_name(found['level'])} of the mean)": numbers.lift(one["lift"])
            + ("" if one["ci"] is None else f" ({numbers.interval(one['ci'], numbers.lift)})"),
            "Spread of worlds": numbers.percent(one["sd"], digits=2),
            "Of it users and clicks": numbers.percent(one["sd_users"], digits=2),
        }
        for name, one in found["metrics"].items()
    ]
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    st.caption(
        f"{numbers.count(len(found['seeds']))} worlds, each with models of its own. A world's bar is the "
        "error of its own truth, over users and clicks. Where worlds spread by more, the rest is training "
        "and the world's catalogue: no test in one world can tell it."
    )


def _ends(lift: float, se_log: float) -> tuple[float, float]:
    return (1 + lift) * math.exp(-Z * se_log) - 1, (1 + lift) * math.exp(Z * se_log) - 1


def _effect(metric: str, arm: str, lift: float, ends: tuple[float | None, float | None]) -> Effect:
    """A true lift with its error, as the effect that charts draw."""
    return Effect(
        metric=metric, arm=arm, unit="", role="secondary", control=None, treatment=None, lift=lift,
        ci_low=ends[0], ci_high=ends[1], level=None, method="", p_value=None, true_lift=None, true_se=None,
        mde=None, n=None, enough=True,
    )  # fmt: skip
