"""Any number of runs and arms beside each other: estimates with truth, how they served, what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import draw, states, verdicts
from dashboard.folders import listed, name_of, opened
from dashboard.head import line
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.compare import setting_text, settings_that_differ
from simulator.results.read import Run
from simulator.results.scorecard import Effect, arms_of, effects, tile_metrics, verdict_of

# What was settled when a run began.
RESOLVED = {
    "manifest.budget_ms": "Latency budget, as it was resolved (ms)",
    "manifest.time_compression": "Time compression, as it was resolved",
}
SIZES: dict[str, Callable[[list[Any]], float]] = {
    "Users in the experiment": lambda arms: sum(arm.get("units") or 0 for arm in arms),
    "Requests in the experiment": lambda arms: sum(arm.get("requests") or 0 for arm in arms),
    "Requests per second that an arm serves": lambda arms: max(
        (arm.get("serving") or {}).get("requests_per_s") or 0 for arm in arms
    ),
}


def page() -> None:
    """Draw the page."""
    st.title("Compare")
    names = [name_of(one) for one in listed() if one.kind == "run"]
    if not names:
        states.nothing("run")
        return
    asked = st.query_params.get_all("runs")
    gone = [name for name in asked if name not in names]
    if gone and "runs" not in st.session_state:
        st.error(f"Not in this folder: {', '.join(map(plain, gone))}. The others are compared.")
    chosen = st.multiselect(
        "Runs", names, default=names[:2], key="runs", bind="query-params", help="As many as you like."
    )
    runs = {name: run for name in chosen if isinstance(run := opened(name), Run)}
    for name, run in runs.items():
        if run.status != "finished":
            st.warning(f"{plain(name)} is {run.status}.")
    cards = {name: run.scorecard for name, run in runs.items() if run.status != "damaged" and run.scorecard}
    if not cards:
        st.info("Choose one or more runs that have a scorecard.")
        return
    for name in cards:
        st.markdown(line(runs[name]))
    _lifts(cards)
    _settings({name: runs[name] for name in cards})


def _lifts(cards: Mapping[str, Mapping[str, Any]]) -> None:
    """One metric of every run and treatment: a chart, and a table with what serving cost."""
    known = {metric.name: metric for card in cards.values() for metric in tile_metrics(card)}
    found = {
        (name, effect.arm, effect.metric): effect for name, card in cards.items() for effect in effects(card)
    }
    shared = [name for name in known if any(metric == name for _, _, metric in found)]
    metric = st.segmented_control(
        "Metric", shared, default=shared[0], required=True, key="metric", bind="query-params",
        format_func=lambda name: numbers.metric_form(name).label,
    )  # fmt: skip
    shown = [(name, arm, effect) for (name, arm, of), effect in found.items() if of == metric]
    label = numbers.metric_form(str(metric)).label
    labels = [f"{name}: {arm}" for name, arm, _ in shown]
    draw.lifts(
        [effect for *_, effect in shown],
        f"{label}: lift over control by run and treatment",
        labels=labels,
    )
    st.caption("Each against the control of its own run; a difference between runs has no interval here.")
    rows = [_row(name, arm, effect, cards[name]) for name, arm, effect in shown]
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)


def _row(name: str, arm: str, effect: Effect, card: Mapping[str, Any]) -> dict[str, str]:
    entry = arms_of(card)[arm]
    values = entry.get("values") or {}
    served = {
        numbers.metric_form(watched).label: numbers.metric_form(watched).form(
            (values.get(watched) or {}).get("value")
        )
        for watched in verdicts.WATCHED
    }
    ends = numbers.interval(effect.ci, numbers.lift)
    lift = f"{numbers.lift(effect.lift)} ({ends})" if effect.enough else numbers.NOT_ENOUGH
    return {
        "Run": name,
        "Treatment": arm,
        "Verdict": str(verdict_of(card, arm)["decision"]),
        f"Lift ({numbers.level_name(effect.level)})": lift,
        "True lift": numbers.lift(effect.true_lift),
        **served,
        "n (requests)": numbers.count(effect.n),
    }


def _settings(runs: Mapping[str, Run]) -> None:
    """The settings that are not the same in all runs."""
    st.subheader("Settings that differ")
    differing = settings_that_differ(list(runs.values()))
    if not differing:
        st.write("None." if len(runs) > 1 else "Choose another run to see which settings differ.")
        return
    rows = [(_label(key), [_text(key, value) for value in values]) for key, values in differing.items()]
    rows = [*_sizes(runs.values()), *rows]
    shown = [{"Setting": name, **dict(zip(runs, values, strict=True))} for name, values in rows]
    st.table(pd.DataFrame(shown), border="horizontal", hide_index=True)


def _label(key: str) -> str:
    """A setting's name: of the file its key, of the manifest in words."""
    section, _, name = key.partition(".")
    return RESOLVED.get(key) or (key if section != "manifest" else name.replace("_", " ").replace(".", ": "))


def _text(key: str, value: Any) -> str:
    return "the preset's" if value is None and key.startswith("traffic.world.") else setting_text(value)


def _sizes(runs: Iterable[Run]) -> list[tuple[str, list[str]]]:
    """What the settings come to: users, requests and their rate, where these differ."""
    rows = []
    for name, size in SIZES.items():
        values = [numbers.count(round(size(list(arms_of(run.scorecard or {}).values())))) for run in runs]
        if len(set(values)) > 1:
            rows.append((name, values))
    return rows


page()
