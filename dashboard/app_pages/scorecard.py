"""The home page: did the treatment help, how sure is the A/B, and was it right?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import draw, head, limits, tiles, verdicts
from dashboard.sections import certificate
from dashboard.sections import effects as apart
from dashboard.words import plain
from dashboard.work.places import read_only
from simulator.results import numbers, report
from simulator.results.document import as_html, as_markdown
from simulator.results.overview import serving
from simulator.results.pdf import as_pdf, chromium_path
from simulator.results.read import Run
from simulator.results.scorecard import (
    Effect,
    arm_users,
    control_name,
    effects,
    split_is_off,
    tile_metrics,
    treatment_names,
)


def page() -> None:
    """Draw the page."""
    run, card = head.open_judged("Scorecard")
    if run is None:
        return
    if card is None:
        about(run, {})
        return
    verdicts.side_by_side(card)
    chosen = verdicts.pick_treatment(treatment_names(card))
    verdicts.verdict(card, chosen)
    split(card)
    shown = [effect for effect in effects(card) if effect.arm == chosen]
    by_metric = {effect.metric: effect for effect in shown}
    tiles.rows([tiles.effect_tile(by_metric[m.name]) for m in tile_metrics(card) if m.name in by_metric])
    lift_charts(shown)
    more(run, card, chosen)
    table(shown)
    downloads(card)
    serving_table(card)
    limits.section(run, card)
    about(run, card)


def split(card: dict[str, Any]) -> None:
    """Users per arm against the configured split; loud where the two disagree."""
    arms = arm_users(card)
    total = sum(arm.users for arm in arms)
    p = numbers.p_phrase(card["srm"]["p_value"])
    words = ", ".join(
        f"{arm.name} {numbers.count(arm.users)} ({numbers.percent(arm.users / total if total else None)}, "
        f"configured {numbers.percent(arm.expected / total if total else None)})"
        for arm in arms
    )
    if split_is_off(card):
        st.error(
            f"**Sample ratio mismatch** ({p}): {words}. The arms' users differ from the configured "
            "split, so the lifts cannot be trusted. Look at the assignment before anything else.",
        )
    else:
        st.caption(f"Users (sample ratio test {p}): {words}.")


def lift_charts(shown: list[Effect]) -> None:
    """Lifts of money and clicks; latency separately, for its lifts are of another size."""
    st.subheader("Estimate and truth")
    st.caption(
        "The A/B sees one split of the users; the simulated world knows what all-treatment against "
        "all-control would do. They differ by the chance of that split, for which the interval makes room, "
        "and by what the arms do to each other: *Truth* shows how much that is, and how often intervals "
        "miss."
    )
    groups = [
        sorted((e for e in shown if e.unit != "ms"), key=lambda effect: effect.role != "primary"),
        [e for e in shown if e.unit == "ms"],
    ]
    for number, group in enumerate(group for group in groups if group):
        words = "; ".join(
            f"{numbers.metric_form(e.metric).label}: {report.table_row(e)[3]}, "
            f"true {numbers.lift(e.true_lift)}"
            for e in group
        )
        draw.lifts(group, f"Lifts over control. {words}", legend=number == 0)


MORE = {
    "Effect by day": apart.by_day,
    "Segments": apart.segments,
    "Channels": apart.channels,
    "Certificate": certificate.section,
}


def more(run: Run, card: dict[str, Any], arm: str) -> None:
    """What else is asked of an effect, one of them at a time: only what is looked at is read and drawn."""
    chosen = st.segmented_control(
        "Look closer", list(MORE), key="closer", bind="query-params",
        help="How the effect grew, for whom it is true, what it comes through (model, history, latency, "
        "prices, budgets), and how often intervals of this kind were measured to be wrong.",
    )  # fmt: skip
    if chosen is not None:
        MORE[str(chosen)](run, card, arm)


def table(shown: list[Effect]) -> None:
    """All metrics with units, intervals, truth and n."""
    st.subheader("All metrics")
    rows, headings = [], report.headings(shown)
    for effect in shown:
        form = numbers.metric_form(effect.metric, effect.unit)
        printed = report.table_row(effect)
        ends = numbers.interval(effect.ci, numbers.lift)
        level = numbers.level_name(effect.level)
        # What one came for stands first: on a telephone the rest is reached by moving the table sideways.
        rows.append(
            {
                "Metric": printed[0],
                f"Lift ({level})": f"{numbers.lift(effect.lift)} ({ends})"
                if effect.enough
                else numbers.NOT_ENOUGH,
                "True lift": printed[4],
                "In CI": {True: "yes", False: "no", None: numbers.MISSING}[
                    effect.covered if effect.enough else None
                ],
                headings[1].capitalize(): printed[1],
                headings[2].capitalize(): printed[2],
                "Unit": form.unit,
                "MDE": printed[5],
                # One word: else a narrow column parts it.
                "p": numbers.p_value(effect.p_value if effect.enough else None).replace(
                    " ", "\N{NO-BREAK SPACE}"
                ),
                "n (requests)": printed[6],
            }
        )
    # A static table: it wraps its cells where a data frame would scroll its last columns out of sight.
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    st.caption(
        "In CI: whether the interval holds the truth. MDE: the minimum detectable effect, the smallest lift "
        "that a test of this size finds with 80% power. p: of no difference."
    )


def downloads(card: dict[str, Any]) -> None:
    """The scorecard as files."""
    name = str(card.get("run") or "run").replace(" ", "-")
    # Each is made when it is asked for: most readers of the page ask for none.
    documents: dict[str, Callable[[], str]] = {
        "csv": lambda: report.render(card, "csv"),
        "json": lambda: report.render(card, "json"),
        "html": lambda: as_html(card),
        "md": lambda: as_markdown(card),
    }
    *columns, last = st.columns(len(documents) + 1)
    for column, (ending, document) in zip(columns, documents.items(), strict=True):
        column.download_button(
            f"Download {ending.upper()}",
            document,
            file_name=f"{name}-scorecard.{ending}",
            on_click="ignore",
            width="stretch",
        )
    missing = "" if chromium_path() else "Needs a Chromium, Chrome or Edge where the dashboard runs."
    last.download_button(
        "Download PDF",
        lambda: as_pdf(as_html(card)),
        file_name=f"{name}-scorecard.pdf",
        mime="application/pdf",
        on_click="ignore",
        width="stretch",
        disabled=bool(missing) or read_only(),
        help=missing or ("This dashboard is read-only, and starts nothing." if read_only() else None),
    )


def serving_table(card: dict[str, Any]) -> None:
    """Every arm's late and degraded requests, beside the P99 that they keep in bounds."""
    headings, *rows = serving(card, intervals=True)
    st.subheader("How the arms served")
    st.table(
        pd.DataFrame(rows, columns=[h.capitalize() for h in headings]), border="horizontal", hide_index=True
    )
    level = numbers.level_name(card.get("level"))
    st.caption(
        f"Of the requests that the A/B assigned to the arm, with the {level}; the bottleneck is that of an "
        "arm which serves all requests."
    )


def about(run: Run, card: dict[str, Any]) -> None:
    """What the numbers rest on: service times, budget, machine, arms."""
    st.subheader("What these numbers are")
    known = {key: run.manifest.get(key) for key in ("service_times", "profile_machine", "budget_ms")}
    for line in report.notes({**known, **card}, servers=False):  # the page has a section for those
        st.write(plain(line))
    if control_name(card) != "control":
        st.caption(f"Control is “{plain(control_name(card))}”.")
    if run.arms:
        keys = ("name", "role", "store", "model", "history")
        rows = [{key.title(): plain(arm.get(key, numbers.MISSING)) for key in keys} for arm in run.arms]
        shown = pd.DataFrame(rows).rename(columns={"History": "History (behaviours)"})
        st.table(shown, border="horizontal", hide_index=True)


page()
