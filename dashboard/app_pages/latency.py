"""How long requests took in each arm, where the time went, and what the budget cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import head, serving_charts, states
from dashboard.draw import chart, ink
from dashboard.palette import TREATMENT, arm_colours
from dashboard.summaries import PERCENTILES, PRIOR, STEP, LatencySummary, lost_shares, stages_of, summarise
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.read import Run, read_run
from simulator.results.scorecard import arms_of

ASSIGNED, ALL = "As the A/B assigned", "All requests (truth)"
HISTOGRAM, CDF = "Histogram", "CDF"
FEW = 10  # requests above a percentile: below that, chance moves it far


def page() -> None:
    """Draw the page."""
    run = head.open_run("Latency")
    if run is None:
        return
    if not run.has("served.parquet"):
        states.not_yet("Latencies", run)
        return
    which = st.segmented_control(
        "Requests",
        [ASSIGNED, ALL],
        default=ASSIGNED,
        required=True,
        key="requests",
        bind="query-params",
        help="Each arm serves the whole trace in the simulator. The A/B only sees the requests it assigned.",
    )
    path = run.path / "served.parquet"
    stamp = path.stat()
    summary = _summary(str(run.path), (stamp.st_mtime_ns, stamp.st_size), assigned=which == ASSIGNED)
    if not any(summary.requests.values()):
        st.info("Not enough data: no request of the experiment period was served.")
        return
    budget_ms = run.manifest.get("budget_ms")
    budget_ms = float(budget_ms) if isinstance(budget_ms, int | float) else None
    percentiles(summary, (run.scorecard or {}) if which == ASSIGNED else {})
    distribution(summary, budget_ms)
    stages(summary)
    over_the_day(summary, budget_ms)
    slowest(summary)
    ladder(summary)
    _source(run)


@st.cache_data(show_spinner="Reading latencies…", max_entries=16)
def _summary(folder: str, stamp: tuple[int, int], *, assigned: bool) -> LatencySummary:
    # `stamp` is part of the key: a rerun of the experiment is read afresh.
    with read_run(folder).opened("served") as file:
        return summarise(file, assigned=assigned)


def percentiles(summary: LatencySummary, scorecard: Mapping[str, Any]) -> None:
    """A table of percentiles, one column per arm; the scorecard knows the intervals of some."""
    st.subheader("Percentiles")
    table: dict[str, dict[str, str]] = {}
    for arm, requests in summary.requests.items():
        values = arms_of(scorecard).get(arm, {}).get("values") or {}
        column = table.setdefault(f"{arm} (n = {numbers.count(requests)} requests)", {})
        for found in summary.percentiles[summary.percentiles["arm"] == arm].to_dict("records"):
            name = f"P{found['percentile']:g}"
            known = values.get(f"{name.lower()}_ms") or {}
            ends = known.get("ci")
            interval = f" ({numbers.interval(ends, numbers.ms)})" if ends else ""
            column[name] = numbers.ms(found["ms"]) + interval
    asked = st.number_input(
        "Another percentile", 0.0, 100.0, 99.99, STEP, format="%.2f", key="percentile", bind="query-params"
    )
    for column, arm in zip(table.values(), summary.requests, strict=True):
        column[f"P{asked:g}"] = numbers.ms(summary.percentile(arm, asked))
    frame = pd.DataFrame(table).fillna(numbers.MISSING)
    shown = frame.rename_axis("Percentile").reset_index()
    st.table(shown, border="horizontal", hide_index=True)
    words = "Late requests count in full."
    if arms_of(scorecard):
        words += " In brackets the scorecard's interval, clustered by user."
    st.caption(words)
    few = _few_above(summary, sorted({*PERCENTILES, asked}))
    if few:
        st.caption(
            f"Few requests lie above {few}: such a percentile is close to the slowest request, and another "
            "day's would be elsewhere."
        )


def _few_above(summary: LatencySummary, percentiles: Sequence[float]) -> str:
    """The percentiles that FEW requests lie above, and how many of each arm: "P99.9 (control 8)"."""
    found = []
    for percentile in percentiles:
        above = {
            arm: summary.above(arm, percentile) for arm, requests in summary.requests.items() if requests
        }
        counts = [f"{arm} {numbers.count(count)}" for arm, count in above.items() if count < FEW]
        if counts:
            found.append(f"P{percentile:g} ({', '.join(counts)})")
    return plain(", ".join(found))


def distribution(summary: LatencySummary, budget_ms: float | None) -> None:
    """The distribution of latency and the budget line."""
    st.subheader("Distribution and budget")
    view = st.segmented_control(
        "View", [HISTOGRAM, CDF], default=HISTOGRAM, required=True, key="view", bind="query-params"
    )
    chart(
        serving_charts.distribution,
        summary.bins,
        f"{view} of latency by arm, with the budget at {numbers.ms(budget_ms)}",
        arms=tuple(dict.fromkeys(summary.bins["arm"])),
        budget_ms=budget_ms,
        ink=ink(),
        cumulative=view == CDF,
    )
    st.caption(_prior(summary) if budget_ms is not None else "This run has no latency budget.")


def _prior(summary: LatencySummary) -> str:
    """Where the answers are that no model gave."""
    rows = summary.ladder[summary.ladder["step_name"] == PRIOR]
    what = "the prior order (ads by their click rates in the log), shown where nothing better would fit"
    if rows.empty:
        return f"No request was answered by {what}."
    requests, at_left = rows["requests"].sum(), rows["at_left"].sum()
    if at_left > requests / 2:
        return f"A spike at the far left is {what}: at once, for it needs no server."
    ends = numbers.interval((rows["low_ms"].min(), rows["high_ms"].max()), numbers.ms)
    return f"{numbers.count(requests)} requests were answered by {what}: after {ends}."


def stages(summary: LatencySummary) -> None:
    """Where the time goes."""
    st.subheader("Where the time goes")
    arms = list(summary.requests)
    ends = float(summary.stages["end_ms"].max()), float(summary.stages["p99_ms"].max())
    for arm, colour in zip(arms, arm_colours(arms), strict=True):
        rows = serving_charts.stage_rows(summary.stages[summary.stages["arm"] == arm], colour)
        left, right = st.columns(2)
        chart(
            serving_charts.waterfall, rows, f"Mean time by stage in {arm}", left,
            title=f"{arm}: mean, from arrival", end_ms=ends[0], ink=ink(),
        )  # fmt: skip
        chart(
            serving_charts.stage_p99, rows, f"P99 by stage in {arm}", right,
            title=f"{arm}: P99 of each stage", end_ms=ends[1], ink=ink(),
        )  # fmt: skip
    st.caption(
        "Grey is waiting, the arm's colour is work. Left: means, laid end to end from arrival, over the "
        "requests that reached the stage. Right: the P99 of each stage alone; these do not add up to the "
        "P99 of the whole."
    )


def over_the_day(summary: LatencySummary, budget_ms: float | None) -> None:
    """How latency follows the load, hour by hour."""
    st.subheader("Over the day")
    arm = _pick_arm("Arm over the day", summary, "day_arm")
    rows = summary.heat[summary.heat["arm"] == arm]
    chart(serving_charts.heat, rows, f"Latency of {arm} by hour of the day", budget_ms=budget_ms)
    hours = rows.drop_duplicates("hour")
    chart(serving_charts.hour_load, hours, f"Requests of {arm} by hour of the day")
    st.caption(
        "Each column is one hour of the day, over all days of the experiment; its colours add up to 100%. "
        "The dashed line is the budget."
    )


def slowest(summary: LatencySummary) -> None:
    """The slowest requests, and where one of them spent its time."""
    st.subheader("The slowest requests")
    arm = _pick_arm("Arm of the slowest requests", summary, "slow_arm")
    found = summary.slowest[summary.slowest["arm"] == arm]
    if found.empty:
        st.caption(f"{plain(arm)} served no request.")
        return
    names = {f"{row['request_id']}: {numbers.ms(row['latency_ms'])}": row for row in found.to_dict("records")}
    one = names[str(st.selectbox("Request", list(names), key="slow_request"))]
    late = "after its deadline" if one["missed"] else "in time"
    st.write(
        f"Answered {late} by step “{plain(one['step_name'])}”, with {numbers.count(one['history_used'])} "
        "behaviours."
    )
    rows = stages_of(one)
    if rows.empty:
        st.caption("It reached no server: the prior order was shown at once.")
        return
    chart(
        serving_charts.waterfall,
        serving_charts.stage_rows(rows, TREATMENT),
        f"Stages of request {one['request_id']} of {arm}",
        title=f"{arm}: this request, from arrival",
        end_ms=float(rows["end_ms"].max()),
        ink=ink(),
    )


def _pick_arm(label: str, summary: LatencySummary, key: str) -> str:
    arms = [arm for arm, requests in summary.requests.items() if requests]
    chosen = st.segmented_control(label, arms, default=arms[-1], required=True, key=key, bind="query-params")
    return str(chosen)


def ladder(summary: LatencySummary) -> None:
    """Requests by ladder step, and those that missed their deadline."""
    st.subheader("Degraded and missed")
    chart(serving_charts.ladder, summary.ladder, "Share of requests by ladder step", names=summary.step_names)
    arms = list(summary.requests)
    shares = lost_shares(summary.ladder, arms)
    for column, arm in zip(st.columns(len(arms)), arms, strict=True):
        degraded, missed = shares[arm] if summary.requests[arm] else (None, None)
        column.write(
            f"**{plain(arm)}**: {numbers.share(degraded)} degraded, {numbers.share(missed)} missed their "
            f"deadline (of {numbers.count(summary.requests[arm])} requests)"
        )
    rows = summary.ladder.assign(
        share=summary.ladder["share"].map(numbers.share),
        missed_share=summary.ladder["missed_share"].map(numbers.share),
        requests=summary.ladder["requests"].map(numbers.count),
    )[["arm", "step_name", "share", "missed_share", "requests"]]
    rows.columns = pd.Index(["Arm", "Ladder step", "Share of requests", "Of these missed", "n (requests)"])
    st.table(rows, border="horizontal", hide_index=True)


def _source(run: Run) -> None:
    small = run.manifest.get("small")
    if small:
        st.caption(
            f"This run is kept small: one request in {numbers.count(small['served_one_in'])} is shown here; "
            "the scorecard's figures are of all."
        )
    machine = run.manifest.get("profile_machine")
    if run.manifest.get("service_times") == "profile":
        st.caption(f"Service times were drawn from measurements on: {machine or 'a machine not named'}.")
    else:
        st.caption("Service times are live calls, measured on the machine that ran the experiment.")


page()
