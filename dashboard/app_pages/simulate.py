"""A finished run under other settings, simulated while one looks: timing plane, market and truth."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import head, states, tiles, verdicts
from dashboard.words import plain
from dashboard.work import asking, places
from dashboard.work.commands import as_typed
from dashboard.work.places import DashboardError, read_only
from dashboard.work.schema import lookup, typed
from simulator.results import numbers
from simulator.results.read import CONFIG, Run
from simulator.results.scorecard import (
    Effect,
    arms_of,
    control_name,
    effects,
    tile_metrics,
    treatment_names,
)

BUDGET, LOAD, RATE = "experiment.budget_ms", "traffic.load", "traffic.requests_per_s"
POLICIES = ("goodput", "fifo", "ladder")
Settings = dict[str, Any]


def page() -> None:
    """Draw the page."""
    run = head.open_run("Simulate: one run, under other settings")
    if run is None:
        return
    if read_only():
        st.info("Nothing is simulated here: this dashboard is read-only.")
        return
    if run.status != "finished" or run.scorecard is None:
        st.info("Only a finished run can be asked again.")
        return
    st.caption(
        "Each answer is simulated as one asks, for another budget, traffic, servers and policy. Another "
        "history or model would have to be trained first: that is a sweep, which *Start* begins and "
        "*What-if* shows."
    )
    if not asking.is_held(run.path):
        st.write(
            "First a process of its own has to hold this run, its world and its scores: some seconds, and "
            "about a gigabyte of memory. Then the sliders appear here, and each answer takes a second or so. "
            "The process ends with the dashboard."
        )
        if not st.button("Hold this run"):
            return
        with st.spinner("Making the world and finding the scores…"):
            if not states.attempt(lambda: asking.hold(run.path)):
                return
        st.rerun()
    panel(run, run.scorecard)


@st.fragment
def panel(run: Run, own: Mapping[str, Any]) -> None:
    """Settings and answer: moving one redraws these alone."""
    file = tomllib.loads((run.path / CONFIG).read_text(encoding="utf-8"))
    changes = _settings(run, file, list(arms_of(own)))
    sets = [f"{key}={typed(value)}" for key, value in changes.items()]
    options = [part for one in sets for part in ("--set", one)]
    st.code(as_typed(["what-if", places.shown(run.path), *options]), language=None, wrap_lines=True)
    try:
        answer = asking.hold(run.path).ask(changes)
    except DashboardError as error:
        st.error(plain(error))
        return
    card = answer["scorecard"]
    scored = f", {answer['scored']:,} scores made for it" if answer["scored"] else ""
    what = "Simulated" if changes else "As it was run, simulated again"
    st.caption(
        f"{what} in {answer['seconds']:.2f} s{scored}: the whole trace is served again, and the market and "
        "the truth with it. Nothing is interpolated."
    )
    arm = verdicts.pick_treatment(treatment_names(card))
    verdicts.verdict(card, arm)
    by_metric = {effect.metric: effect for effect in effects(card) if effect.arm == arm}
    shown = [by_metric[metric.name] for metric in tile_metrics(card) if metric.name in by_metric]
    tiles.rows([_tile(effect, card) for effect in shown])
    _beside(own, card, arm)
    if st.button("Make this a run", help="Opens the form with this run's file and these settings."):
        name = st.session_state["run"]
        st.switch_page("app_pages/start.py", query_params={"clone": name, "set": sets})


def _settings(run: Run, file: Mapping[str, Any], arms: list[str]) -> Settings:
    """The controls; returns what differs from the run."""
    asked: Settings = {}
    left, right = st.columns(2)
    budget_ms = run.manifest.get("budget_ms")
    with left:
        if isinstance(budget_ms, int | float):
            asked |= _scaled("Latency budget (ms)", BUDGET, float(budget_ms), 0.15, 3)
    key = RATE if lookup(file, RATE) else LOAD
    words = "Requests per second" if key == RATE else "Load, a share of what the slower arm serves"
    with right:
        asked |= _scaled(words, key, float(lookup(file, key) or 0.6), 0.2, 4)
    with st.expander("Servers and policy of each arm"):
        for arm in arms:
            asked |= _servers(file, arm)
    return asked


def _scaled(label: str, key: str, was: float, low: float, high: float) -> Settings:
    """A slider from `low` to `high` times what the run had, in even ratios; empty where it stands at that."""
    down, up = (np.geomspace(1, end, 13)[1:] for end in (low, high))
    values = {f"{was * factor:.3g}": float(f"{was * factor:.3g}") for factor in [*down[::-1], *up]}
    own = f"{was:.3g}"
    options = sorted({**values, own: was}.items(), key=lambda pair: pair[1])
    shown = f"{label}; the run had {own}"
    chosen = st.select_slider(shown, [text for text, _ in options], own, key=key, bind="query-params")
    return {} if chosen == own else {key: values[str(chosen)]}


def _servers(file: Mapping[str, Any], arm: str) -> Settings:
    """One arm's controls."""
    asked: Settings = {}
    st.markdown(f"**{plain(arm)}**")
    columns = st.columns(4)
    for column, name, default in zip(
        columns, ("scorers", "store_workers", "max_batch"), (1, 2, 8), strict=False
    ):
        key = f"arms.{arm}.{name}"
        was = int(lookup(file, key) or default)
        now = column.number_input(name, 1, 1000, was, key=key, bind="query-params")
        if now != was:
            asked[key] = int(now)
    key = f"arms.{arm}.policy"
    policy = lookup(file, key) or POLICIES[0]
    choices = list(dict.fromkeys([policy, *POLICIES]))
    chosen = columns[-1].selectbox("policy", choices, key=key, bind="query-params")
    if chosen != policy:
        asked[key] = chosen
    return asked


def _tile(effect: Effect, card: Mapping[str, Any]) -> tiles.Tile:
    """The truth in large, and what this A/B would have said in the small print."""
    form = numbers.metric_form(effect.metric, effect.unit)
    truths = {
        arm: (arms_of(card)[arm]["values"].get(effect.metric) or {}).get("true_value")
        for arm in (control_name(card), effect.arm)
    }
    control, treatment = truths.values()
    told = effect.true_lift is not None
    said = tiles.estimate_lines(
        effect.lift if effect.enough else None, effect.ci, effect.true_lift, numbers.lift,
        numbers.level_name(effect.level),
    )  # fmt: skip
    return tiles.Tile(
        label=f"{form.label}, in truth" if told else form.label,
        value=form.form(treatment if told else effect.treatment),
        lift=effect.true_lift if told else effect.lift,
        ci=tiles.within_error(effect.true_lift, effect.true_se) if told else effect.ci,
        lines=(*said, f"control {form.form(control if told else effect.control)}"),
        higher_is_better=form.higher_is_better,
        help=form.meaning,
        enough=told or effect.enough,
        against="true, vs control" if told else "vs control",
    )


def _beside(own: Mapping[str, Any], card: Mapping[str, Any], arm: str) -> None:
    """What the run itself has, and what it would have, metric by metric."""
    rows = []
    was, now = ({e.metric: e for e in effects(one) if e.arm == arm} for one in (own, card))
    for name, effect in now.items():
        before = was.get(name)
        rows.append(
            {
                "Metric": f"{numbers.metric_form(name, effect.unit).label}, true lift",
                "As it was run": numbers.lift(before.true_lift if before else None),
                "With these settings": numbers.lift(effect.true_lift),
            }
        )
    for one in (control_name(card), arm):
        for name in verdicts.WATCHED:
            form = numbers.metric_form(name)
            found = [(arms_of(each)[one]["values"].get(name) or {}).get("true_value") for each in (own, card)]
            rows.append(
                {
                    "Metric": f"{form.label}, {one}",
                    "As it was run": form.form(found[0]),
                    "With these settings": form.form(found[1]),
                }
            )
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)


page()
