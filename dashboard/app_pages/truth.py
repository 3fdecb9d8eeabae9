"""What is true, and how an A/B test can miss it: designs, segments, worlds, intervals, looking too early."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import head, verdicts
from dashboard.sections import certificate, designs, effects, peeking, worlds
from dashboard.sections.answers import answer
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.beside.measured import measured
from simulator.results.read import Run
from simulator.results.scorecard import effects as effects_of
from simulator.results.scorecard import primary, treatment_names

ASSIGNMENTS = 40


def page() -> None:
    """Draw the page: one question at a time, so that only what is looked at is read and drawn."""
    run, card = head.open_judged("Truth: how can the A/B be wrong?")
    if run is None or card is None:
        return
    _own(card)
    question = str(
        st.segmented_control(
            "Question", list(QUESTIONS), default=next(iter(QUESTIONS)), required=True, key="question",
            bind="query-params",
        )
    )  # fmt: skip
    st.subheader(question)
    QUESTIONS[question](run, card)


def _own(card: Mapping[str, Any]) -> None:
    """How far this run's estimate and truth are apart, and whether chance is enough to say why."""
    effect = primary(card)
    if effect is None or not effect.enough or effect.covered is None:
        return
    ends = f"its {numbers.level_name(effect.level)}, {numbers.interval(effect.ci, numbers.lift)},"
    why = (
        f"{ends} holds it: the chance of one split of the users is enough to explain the difference."
        if effect.covered
        else f"{ends} leaves it out: one in {1 / (1 - (effect.level or 0.95)):.0f} does by chance, and "
        "more do where the arms disturb each other."
    )
    st.write(
        f"**{numbers.metric_form(effect.metric).label} of {plain(effect.arm)}.** The A/B says "
        f"{numbers.lift(effect.lift)}, the truth is {numbers.lift(effect.true_lift)}; {why}"
    )


def _interference(run: Run, card: Mapping[str, Any]) -> None:
    """Designs on the run's own market, and on one where it matters."""
    found = answer(
        run,
        "designs",
        f"Each of seven designs is drawn {ASSIGNMENTS} times on the run's market, which is then auctioned: "
        "half a minute for a run such as the demo, more with more requests.",
        ("--assignments", str(ASSIGNMENTS)),
    )
    if found is not None:
        own = {e.metric: e.true_lift for e in effects_of(card) if e.arm == found["treatment"]}
        designs.draw(found, "designs", own)
    with st.expander("Example, not this run: a market whose budgets are tight, where the design decides"):
        shipped = measured("designs")
        designs.draw(shipped, "shipped_designs")
        st.caption(
            "What laser-ab designs examples/tight-budgets.toml --assignments "
            f"{shipped['assignments']} found (commit {shipped['commit']}); shipped with the package."
        )


def _for_whom(run: Run, card: Mapping[str, Any]) -> None:
    effects.segments(run, card, verdicts.pick_treatment(treatment_names(card)))


def _intervals(run: Run, card: Mapping[str, Any]) -> None:
    certificate.section(run, card, "")


def _peeking(run: Run, card: Mapping[str, Any]) -> None:
    peeking.section()


QUESTIONS = {
    "Do the arms disturb each other?": _interference,
    "For whom is it true?": _for_whom,
    "Is it true elsewhere?": worlds.section,
    "How often are intervals wrong?": _intervals,
    "What if one looks early?": _peeking,
}

page()
