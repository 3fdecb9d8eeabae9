"""What another setting would do, the latency budget or any other, read from a sweep simulated before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import head, limits, states, tiles, verdicts
from dashboard.sections import fronts, sweep_curve
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.answers.build import answers_of
from simulator.results.answers.cost import asked_of
from simulator.results.answers.terms import terms_of
from simulator.results.answers.text import answer_lines, cheapest_in_short, worth_in_short
from simulator.results.answers.worth import most_worth
from simulator.results.axes import Axis, in_words
from simulator.results.bottleneck import traffic
from simulator.results.read import Sweep, read_sweep
from simulator.results.report import service_times
from simulator.results.scorecard import arms_of, control_name, effects, tile_metrics, treatment_names

# Of one metric of one arm: value, interval, the truth and the truth's own error; None where unknown.
KNOWN = ("value", "ci_low", "ci_high", "true_value", "true_se")
Cell = Mapping[tuple[str, str], Mapping[str, float | None]]  # (arm, metric) -> KNOWN


def page() -> None:
    """Draw the page."""
    sweep = head.open_sweep("What-if: a sweep, simulated before")
    if sweep is None:
        return
    if not sweep.has("sweep.parquet"):
        states.not_yet("Points", sweep)
        return
    stamp = (sweep.path / "sweep.parquet").stat()
    table = _table(str(sweep.path), (stamp.st_mtime_ns, stamp.st_size))
    if table.empty or not sweep.axes:
        st.info("Not enough data: the sweep has no point yet.")
        return
    panel(sweep, table, _cards(str(sweep.path), stamp.st_mtime_ns))


@st.cache_data(show_spinner=False, max_entries=16)
def _table(folder: str, stamp: tuple[int, int]) -> pd.DataFrame:
    """The sweep's rows, and the truth's own standard error beside the lifts, from the cells' scorecards."""
    sweep = read_sweep(Path(folder))
    frame: pd.DataFrame = sweep.table("sweep").to_pandas()
    errors = {
        (cell, arm, f"{metric}_lift"): entry.get("true_se")
        for cell, card in _cards(folder, stamp[0]).items()
        for arm, own in arms_of(card).items()
        for metric, entry in own["metrics"].items()
    }
    keys = zip(frame["cell"], frame["arm"], frame["metric"], strict=True)
    return frame.assign(true_se=pd.Series([errors.get(key) for key in keys], dtype=float))


@st.cache_resource(show_spinner=False, max_entries=4)  # not copied for every move of a slider
def _cards(folder: str, stamp: int) -> dict[int, dict[str, Any]]:
    """The scorecard of every cell, to be read and not to be changed; empty for a cell that has none."""
    sweep = read_sweep(Path(folder))
    return {cell: sweep.cell(cell) or {} for cell in sweep.cells}


@st.fragment
def panel(sweep: Sweep, table: pd.DataFrame, cards: Mapping[int, dict[str, Any]]) -> None:
    """Sliders, verdict, tiles and curve: moving a slider redraws these alone."""
    first: dict[str, Any] = next(iter(cards.values()), {})  # for what all cells have in common
    arms = _arms(first, table)
    chosen = {axis.key: _choose(axis) for axis in sweep.axes}
    stamp = (sweep.path / "sweep.parquet").stat().st_mtime_ns
    answers, lines = _answers(str(sweep.path), stamp)
    _in_short(sweep.axes, chosen, answers)
    st.caption(
        "Every point is a whole run that the sweep simulated with those settings; nothing is interpolated. "
        "What was not swept may be asked of one run on *Simulate*, or swept from *Start*. "
        + service_times(sweep.manifest)
    )
    differs = traffic(cards.values())
    if differs:
        st.info(differs)
    treatment = verdicts.pick_treatment(arms[1:] or arms)
    cell = table[sweep_curve.at(table, sweep.axes, chosen)]
    if cell.empty:  # its cells were listed one by one
        st.info("Not simulated: this sweep has no cell at these settings. Choose others.")
        return
    card = cards.get(int(cell["cell"].iloc[0]), {})
    if treatment in treatment_names(card):
        verdicts.verdict(card, treatment)
    level = numbers.level_name(first.get("level"))
    few = {effect.metric for effect in effects(card) if effect.arm == treatment and not effect.enough}
    known = set(table["metric"])
    leading = [metric for metric in tile_metrics(first) if metric.name in known]
    money = [metric.name for metric in leading if not metric.of_serving]
    at = _by_metric(cell)
    for metrics in (money, [metric.name for metric in leading if metric.of_serving]):
        tiles.rows([_tile(metric, at, arms[0], treatment, level, few) for metric in metrics])
    sweep_curve.section(table, money, (arms[0], treatment), sweep.axes, chosen, answers)
    fronts.section(sweep, chosen)
    with st.expander(
        "Answers: is it worth it, break-even, most traffic, cheapest, what no other setting beats"
    ):
        st.text("\n".join(lines))
    limits.section(sweep, card, f", at {in_words(sweep.axes, chosen)}")


def _choose(axis: Axis) -> Any:
    """A control for one axis; a sentence where it has one value."""
    names = {axis.text(value): value for value in axis.values}
    if len(names) == 1:
        (name,) = names
        st.write(f"{axis.label}: {name}, the only one of this sweep.")
        return names[name]
    label = axis.label if axis.own is None else f"{axis.label}; the file has {axis.text(axis.own)}"
    name = st.select_slider(
        label, list(names), value=axis.text(axis.nearest), key=axis.key, bind="query-params"
    )
    return names[str(name)]


def _in_short(axes: Sequence[Axis], chosen: Mapping[str, Any], answers: Mapping[str, Any]) -> None:
    """Where it is worth it, the way to where it is most, and the cheapest at what is asked here."""
    asked = asked_of(chosen)
    said = [worth_in_short(answers["worth"], axes)]
    said += [cheapest_in_short(one, axes) for one in answers["cheapest"]["all"] if one["at"] == asked]
    st.markdown(f"**By the truth:** {plain('; '.join(said))}.")
    best = most_worth(answers["worth"])
    if best is not None and best["at"] != chosen:
        there = {axis.key: axis.text(best["at"][axis.key]) for axis in axes}
        st.button("Show where it is worth most", on_click=st.session_state.update, args=(there,))


def _arms(card: dict[str, Any], table: pd.DataFrame) -> list[str]:
    """The arms' names, control first."""
    control = control_name(card)
    return sorted(dict.fromkeys(table["arm"]), key=lambda name: name != control)


def _by_metric(cell: pd.DataFrame) -> Cell:
    """Its rows by arm and metric, from a frame's: looked up for every tile."""
    return {
        (row["arm"], row["metric"]): {key: None if pd.isna(row[key]) else float(row[key]) for key in KNOWN}
        for row in cell.to_dict("records")
    }


def _tile(
    metric: str, cell: Cell, control: str, treatment: str, level: str, few: Collection[str]
) -> tiles.Tile:
    """The truth in large where it is known, and what this A/B would have said in the small print.

    Args:
        metric: which.
        cell: what is known at the chosen settings.
        control, treatment: the arms.
        level: the intervals' name.
        few: metrics of which there is not data enough to show the estimate.
    """
    form = numbers.metric_form(metric)
    nothing = dict.fromkeys(KNOWN)
    base, value = (cell.get((arm, metric), nothing) for arm in (control, treatment))
    lift = cell.get((treatment, f"{metric}_lift"), nothing)
    # A lift that is there and null was kept back: an arm has too few users.
    has_lift = (treatment, f"{metric}_lift") in cell
    told = lift["true_value"] is not None or (not has_lift and value["true_value"] is not None)
    which = "true_value" if told else "value"
    truth = tiles.within_error(lift["true_value"], lift["true_se"])
    row, shown = (lift, numbers.lift) if has_lift else (value, form.form)
    ends = row["ci_low"], row["ci_high"]
    value_ = None if has_lift and metric in few else row["value"]
    said = tiles.estimate_lines(value_, ends, row["true_value"], shown, level)
    return tiles.Tile(
        label=f"{form.label}, in truth" if told else form.label,
        value=form.form(value[which]),
        lift=lift[which],
        ci=truth if told else (lift["ci_low"], lift["ci_high"]),
        lines=(*said, f"control {form.form(base[which])}"),
        higher_is_better=form.higher_is_better,
        help=form.meaning,
        enough=told or not has_lift or (lift["value"] is not None and metric not in few),
        against="true, vs control" if told else "vs control",
    )


@st.cache_resource(show_spinner=False, max_entries=16)  # read, and not changed
def _answers(folder: str, stamp: int) -> tuple[dict[str, Any], list[str]]:
    """What the sweep says to who must decide, and the same in lines, as `laser-ab report SWEEP` has it."""
    sweep = read_sweep(Path(folder))
    answers = answers_of(sweep, terms_of(sweep))
    return answers, answer_lines(answers, sweep.axes)


page()
