"""Tiles: a value, its lift with interval, and the truth beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from simulator.results import numbers
from simulator.results.scorecard import Effect

Z = 1.96  # standard errors of a truth to either side: 95 %
MOST = 4  # tiles of a row: five truncate their values on a laptop
CURRENCY = "¤ is the simulated world's currency."

Colour = Literal["green", "red", "gray"]
Arrow = Literal["up", "down", "off"]


@dataclass(frozen=True)
class Tile:
    """What a tile says.

    Attributes:
        label, value: the metric and the treatment's value, printed.
        lift, ci: a fraction and its interval; None where unknown.
        lines: the small print below.
        higher_is_better: which way is good.
        enough: False shows "not enough data" for the lift.
        help: the label spelt out, shown on demand.
        against: said after the lift.
    """

    label: str
    value: str
    lift: float | None
    ci: tuple[float | None, float | None]
    lines: tuple[str, ...]
    higher_is_better: bool = True
    enough: bool = True
    help: str = ""
    against: str = "vs control"


def effect_tile(effect: Effect) -> Tile:
    """The tile of a scorecard's effect."""
    form = numbers.metric_form(effect.metric, effect.unit)
    own, other = form.form(effect.treatment), form.form(effect.control)
    interval = f"{numbers.level_name(effect.level)} {numbers.interval(effect.ci, numbers.lift)}"
    beside = f"control {other}" + (" (both adjusted)" if effect.adjusted else "")
    return Tile(
        label=form.label,
        # In large it would be read against control's, as a lift.
        value=own if effect.enough else numbers.MISSING,
        lift=effect.lift,
        ci=effect.ci,
        lines=(
            *([interval] if effect.enough else []),
            f"true {numbers.lift(effect.true_lift)}",
            beside if effect.enough else f"{own} against {beside}: too little data for a finding",
        ),
        help=form.meaning,
        higher_is_better=form.higher_is_better,
        enough=effect.enough,
    )


def rows(tiles: Sequence[Tile]) -> None:
    """Tiles side by side, in as few rows of about equal length as MOST allows; below them what ¤ is."""
    width = math.ceil(len(tiles) / max(1, math.ceil(len(tiles) / MOST)))
    for start in range(0, len(tiles), max(1, width)):
        for column, tile in zip(st.columns(width), tiles[start : start + width], strict=False):
            with column, st.container(border=True, height="stretch"):
                _draw(tile)
    if any("¤" in text for tile in tiles for text in (tile.value, *tile.lines)):
        st.caption(CURRENCY)


def _draw(tile: Tile) -> None:
    delta: str
    colour: Colour
    arrow: Arrow
    if not tile.enough:
        delta, colour, arrow = "not enough data", "gray", "off"
    elif tile.lift is None:
        delta, colour, arrow = "", "gray", "off"
    else:
        printed = numbers.lift(tile.lift)
        delta = f"{printed} {tile.against}"
        colour = verdict_colour(tile.ci, tile.higher_is_better)
        # By what is read: a lift that prints as 0.0% points nowhere.
        arrow = "up" if printed[0] == "+" else "down" if printed[0] == numbers.MINUS else "off"
    st.metric(
        tile.label,
        tile.value,
        delta or None,
        delta_color=colour,
        delta_arrow=arrow,
        help=tile.help or None,
    )
    # Not a caption: the interval and the truth are not to be the palest words of the page.
    st.markdown("  \n".join(f":small[{line}]" for line in tile.lines))


def verdict_colour(ci: tuple[float | None, float | None], higher_is_better: bool) -> Colour:
    """Green or red only where the interval leaves zero out; grey otherwise."""
    low, high = ci
    if low is None or high is None or low <= 0 <= high:
        return "gray"
    return "green" if (low > 0) == higher_is_better else "red"


def estimate_lines(
    value: float | None,
    ci: tuple[float | None, float | None],
    truth: float | None,
    form: Callable[[float | None], str],
    level: str,
) -> list[str]:
    """What this A/B says, for the small print below a truth, and whether its interval leaves the truth out.

    Args:
        value, ci: its estimate and interval; None where it has none.
        truth: beside it.
        form: prints any of them.
        level: the interval's name.
    """
    if value is None:
        return [f"this A/B: {numbers.NOT_ENOUGH}"]
    low, high = ci
    if low is None or high is None:
        return [f"this A/B: {form(value)}"]
    lines = [f"this A/B: {form(value)} ({level} {numbers.interval(ci, form)})"]
    if truth is not None and not low <= truth <= high:
        lines.append("its interval leaves the truth out")
    return lines


def within_error(truth: float | None, error: float | None) -> tuple[float | None, float | None]:
    """Where a true lift lies by the simulation's own error, at 95 %; a point where it has none."""
    if truth is None:
        return None, None
    half = Z * (error or 0.0)
    return truth - half, truth + half
