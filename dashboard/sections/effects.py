"""The effect taken apart: by day, by segment, by channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, draw
from dashboard.draw import chart
from dashboard.palette import NEUTRAL, TRUTH
from dashboard.sections import apart_charts
from dashboard.sections.answers import answer
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.beside import asked
from simulator.results.days import lifts_by_day
from simulator.results.read import Run, read_run
from simulator.results.scorecard import Effect, control_name, primary, tile_metrics

# What segments are made by -> in words.
SORTED_BY = {
    "history": "Behaviours that were readable",
    "activity": "Requests of the user in the experiment",
    "latency": "Response time of the treatment (ms)",
}
THIRDS = ("least", "middle", "most")
BREAKDOWN_TAKES = "It takes some seconds: every request is read."
_CHANNELS = {
    "model": "the treatment's model in place of control's",
    "history": "its history length",
    "serving": "when it answers, by which step of the ladder, and how often late",
    "prices": "what clicks cost by the market's pricing",
    "budgets": "advertisers' budgets",
}


def by_day(run: Run, card: Mapping[str, Any], arm: str) -> None:
    """How the primary metric's lift grew, with an interval that may be looked at every day."""
    effect = primary(card, arm)
    if effect is None:
        st.caption("There is no primary metric to follow.")
        return
    label = numbers.metric_form(effect.metric).label
    if run.has("days.parquet"):
        _small_by_day(run, card, effect)
        return
    found = answer(run, "breakdown", BREAKDOWN_TAKES)
    if found is None:
        return
    days = found["treatments"][arm]["days"].get(effect.metric)
    if not days:
        st.caption("This metric has no effect by day: it is no ratio of users' totals.")
        return
    _draw_days(
        [
            {
                "day": day["day"],
                "lift": day["lift"],
                "true_lift": day["true_lift"],
                "ends": day["always_valid"],
            }
            for day in days
        ],
        label,
    )
    held = [day["day"] for day in days if day["always_valid"] and not _inside(0.0, day["always_valid"])]
    words = (
        f"From day {held[0]} on it left zero out: a test that stops there errs no more than one that waits."
        if held
        else "It never left zero out."
    )
    st.caption(
        "Of all days so far. The band is always valid: at "
        f"{numbers.percent(found['level'], digits=0)} it holds on all days at once, so one may look every "
        f"day and stop when it pleases. {words} The interval of one look, at the end, is narrower: "
        f"{numbers.interval(days[-1]['ci'], numbers.lift)}. The chart reaches twice as far as the last day's "
        "band: the first days' may be cut off."
    )


def _small_by_day(run: Run, card: Mapping[str, Any], effect: Effect) -> None:
    """Of a run that was made small: its days' totals, which have no users to make an interval of."""
    found = _totals_by_day(str(run.path), run.created, effect.metric, control_name(card))
    rows = [{**row, "ends": None} for row in found if row["arm"] == effect.arm]
    if not rows:
        st.caption("This metric has no effect by day: it is no ratio of users' totals.")
        return
    _draw_days(rows, numbers.metric_form(effect.metric).label)
    st.caption(
        "Of all days so far, as counted and without CUPED, so the last day's is not the scorecard's. This "
        "run was made small, and without its users there is no interval."
    )


@st.cache_data(show_spinner=False, max_entries=16)
def _totals_by_day(folder: str, created: str, metric: str, control: str) -> list[dict[str, Any]]:
    return lifts_by_day(read_run(folder).table("days"), metric, control)


def _draw_days(days: Sequence[Mapping[str, Any]], label: str) -> None:
    rows = []
    for day in days:
        low, high = day["ends"] or (None, None)
        estimate = {"which": charts.ESTIMATE_LINE, "lift": day["lift"], "low": low, "high": high}
        rows += [{"day": day["day"], **estimate}]
        rows += [
            {"day": day["day"], "which": charts.TRUE, "lift": day["true_lift"], "low": None, "high": None}
        ]
    frame = pd.DataFrame(rows).dropna(subset=["lift"])
    last = days[-1]
    words = f"on the last day {numbers.lift(last['lift'])}, true {numbers.lift(last['true_lift'])}"
    chart(
        charts.by_day,
        frame,
        f"{label}: lift over control of all days so far, by day; {words}",
        label=label,
        reach=charts.reach_of(frame),
    )


def segments(run: Run, card: Mapping[str, Any], arm: str) -> None:
    """Estimate and truth in thirds of the requests."""
    found = answer(run, "breakdown", BREAKDOWN_TAKES)
    if found is None:
        return
    records = found["treatments"][arm]["segments"]
    names = [metric.name for metric in tile_metrics(card) if metric.name in records[0]["metrics"]]
    left, right = st.columns(2)
    metric = str(
        left.segmented_control(
            "Metric of the segments", names, default=names[0], required=True, key="segment_metric",
            bind="query-params", format_func=lambda name: numbers.metric_form(name).label,
        )
    )  # fmt: skip
    by = str(
        right.segmented_control(
            "Thirds by", list(SORTED_BY), default="history", required=True, key="thirds", bind="query-params"
        )
    )
    shown = [record for record in records if record["by"] == by]
    labels = [f"{THIRDS[record['third']]}: {_range(record)}" for record in shown]
    effects = [_effect(record["metrics"][metric], metric, arm, found["level"]) for record in shown]
    title = f"{numbers.metric_form(metric).label} by {SORTED_BY[by].lower()}"
    st.markdown(f"**{plain(title)}**")
    words = "; ".join(
        f"{label}: {numbers.lift_with_interval(effect.lift, effect.ci, effect.level)}, "
        f"true {numbers.lift(effect.true_lift)}"
        for label, effect in zip(labels, effects, strict=True)
    )
    draw.lifts(effects, f"{title}. {words}", labels=labels)
    st.table(
        pd.DataFrame(
            [_segment_row(*each, found["level"]) for each in zip(labels, shown, effects, strict=True)]
        ),
        border="horizontal",
        hide_index=True,
    )
    st.caption(
        "Thirds of the experiment's requests, each with its users' totals. Of several segments one stands "
        "out by chance: p is adjusted for all of the metric's (Holm). The truth's own error is over users."
    )


def _segment_row(label: str, record: Mapping[str, Any], effect: Effect, level: float) -> dict[str, str]:
    entry = record["metrics"][effect.metric]
    ends = numbers.interval(effect.ci, numbers.lift)
    lift = numbers.NOT_ENOUGH if effect.lift is None else f"{numbers.lift(effect.lift)} ({ends})"
    error = entry["true_se"]
    true = numbers.lift(effect.true_lift) + ("" if error is None else f" ± {numbers.error(error)}")
    return {
        "Third": label,
        f"Lift ({numbers.level_name(level)})": lift,
        "p, adjusted": numbers.p_value(entry["p_holm"]),
        "True lift": true,
        "n (requests)": numbers.count(record["requests"]),
    }


def _effect(entry: Mapping[str, Any], metric: str, arm: str, level: float) -> Effect:
    """A segment's entry as the effect that charts draw."""
    low, high = entry["ci"] or (None, None)
    return Effect(
        metric=metric, arm=arm, unit="", role="secondary", control=None, treatment=None, lift=entry["lift"],
        ci_low=low, ci_high=high, level=level, method="", p_value=entry["p_holm"],
        true_lift=entry["true_lift"], true_se=entry["true_se"], mde=None, n=None,
        enough=entry["lift"] is not None, reason=entry["reason"] or "",
    )  # fmt: skip


def _range(record: Mapping[str, Any]) -> str:
    if record["low"] is None:
        return "no request"
    form = numbers.ms if record["by"] == "latency" else numbers.count
    return numbers.interval((record["low"], record["high"]), form)


def _inside(value: float, ends: Sequence[float]) -> bool:
    return ends[0] <= value <= ends[1]


def channels(run: Run, card: Mapping[str, Any], arm: str) -> None:
    """Through what the true effect comes."""
    found = answer(
        run,
        "channels",
        "Its world is made again and 32 worlds are simulated. Where the arms differ in model and history, "
        "two arms between them tell these apart: unless a run has kept their models, they are trained and "
        f"score every request first. {asked.took(run)}",
    )
    if found is None:
        return
    own = next((one for one in found["treatments"] if one["treatment"] == arm), None)
    names = [metric.name for metric in tile_metrics(card) if own and metric.name in own["metrics"]]
    if own is None or not names:
        st.caption("There is no effect to take apart: an arm earns nothing in some world.")
        return
    metric = str(
        st.segmented_control(
            "Metric of the channels", names, default=names[0], required=True, key="channel_metric",
            bind="query-params", format_func=lambda name: numbers.metric_form(name).label,
        )
    )  # fmt: skip
    entry = own["metrics"][metric]
    rows = pd.DataFrame(
        [
            {"channel": name, "what": _CHANNELS[name], "value": part["log_lift"], "se": part["se"]}
            for name, part in entry["parts"].items()
        ]
        + [{"channel": "together", "what": "all of them", "value": entry["log_lift"], "se": entry["se"]}]
    )
    words = "; ".join(
        f"{name} {numbers.percent(part['log_lift'], signed=True, digits=2)}"
        for name, part in entry["parts"].items()
    )
    label = numbers.metric_form(metric).label
    rows = apart_charts.with_ends(rows).assign(colour=[NEUTRAL] * (len(rows) - 1) + [TRUTH])
    chart(
        apart_charts.channels,
        rows,
        f"What the true effect on {label} comes through. {words}",
        names=tuple(rows["channel"]),
    )
    order = own["order"]
    how = f"switched on in the order {', '.join(order)}" if order else "the mean over every order (Shapley)"
    st.caption(
        f"The true lift is {numbers.lift(entry['true_lift'])}. Parts are of its logarithm, so that they add; "
        f"{how}. Bars reach two standard errors over users to either side. "
        + "; ".join(f"*{name}*: {what}" for name, what in _CHANNELS.items())
        + "."
    )
