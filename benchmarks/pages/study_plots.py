"""The plots of the study's page: SVG files on a background of their own, for light and dark themes."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import altair as alt

from benchmarks.models.study_plan import SUMMARY_KEPT
from benchmarks.pages.study_claims import OTHERS
from benchmarks.pages.study_cost import Cost, costs, plots_of
from benchmarks.pages.study_order import ORDER, order_points
from benchmarks.pages.study_parts import ablation_points
from benchmarks.pages.study_rows import Row, Study, front, worlds_of

WIDTH, HEIGHT, ROW = 400, 300, 26
LETTER, LINE, GAP = 6.2, 13, 7  # a label's size in pixels, about, and its distance from the point
BLUE, ORANGE, BLACK, GREY = "#1f5fa8", "#c8641e", "#222222", "#8a8f98"
UNSHOWN = ("no history",)  # so far below that the rest would be one line
KINDS = {
    "tuned": (BLUE, "circle"),
    "measured": (BLUE, "circle"),
    "untuned": (ORANGE, "square"),
    "paper": (BLACK, "diamond"),
}

_STEPS = 60  # boxes along a part of the line, for labels to keep off it

Box = tuple[float, float, float, float]


def write_plots(study: Study, folder: Path) -> list[Path]:
    """Save all that there is data for; altair saves SVG through vl-convert."""
    written = []
    for name, chart in charts(study).items():
        path = folder / f"model-study-{name}.svg"
        chart.save(path, format="svg")
        written.append(path)
    return written


def charts(study: Study) -> dict[str, Any]:
    """The plots by name."""
    found = {}
    if points := order_points(study):
        found["order"] = _styled(_beside([_order(points, world) for world in _worlds(points)]))
    if points := ablation_points(study):
        found["ablation"] = _styled(_beside([_ablation(points, world) for world in _worlds(points)]))
    worlds = worlds_of(study.pool("order"))
    for plot in plots_of(study):
        rows = [
            _beside([_against(world, cost) for cost in costs(study, world)[plot] if cost.points])
            for world in worlds
        ]
        found[plot] = _styled(alt.vconcat(*rows, spacing=24))
    return found


def _worlds(points: list[Row]) -> list[str]:
    return list(dict.fromkeys(point["world"] for point in points))


def _beside(panels: list[Any]) -> Any:
    return alt.hconcat(*panels, spacing=28)


def _styled(chart: Any) -> Any:
    font = "Helvetica, Arial, sans-serif"
    return (
        chart.properties(background="#ffffff", padding=16)
        .configure(font=font)
        .configure_view(stroke="#c9ccd1")
        .configure_axis(
            gridColor="#e9ebee",
            labelColor=BLACK,
            titleColor=BLACK,
            labelFontSize=11,
            titleFontSize=12,
            labelLimit=260,
        )
        .configure_title(fontSize=13, color=BLACK, anchor="start")
        .configure_legend(labelColor=BLACK, titleColor=BLACK, labelFontSize=11)
    )


def _data(values: list[Row]) -> Any:
    return alt.Data(values=values)  # type: ignore[no-untyped-call]


def _order(points: list[Row], world: str) -> Any:
    """Gap to Base by model: tuned, untuned, the paper's."""
    own = [point for point in points if point["world"] == world]
    models = [m for m in (*ORDER[::-1], *OTHERS) if any(point["model"] == m for point in own)]
    return _intervals(own, "model", models, f"World {world}", "gap to Base, points of sAUC (paper: of AUC)")


def _ablation(points: list[Row], world: str) -> Any:
    """Each change of LASER: measured and the paper's."""
    own = [{**point, "kind": "measured"} for point in points if point["world"] == world]
    reported = [point for point in own if point["paper"] is not None]
    paper = [
        {**p, "kind": "paper", "pt": p["paper"], "low": p["paper"], "high": p["paper"]} for p in reported
    ]
    names = [point["change"] for point in own]
    return _intervals(
        [*own, *paper],
        "change",
        names,
        f"World {world}",
        "gap to LASER (M: to M = 2), points of sAUC (paper: of AUC)",
    )


def _intervals(values: list[Row], by: str, names: list[str], title: str, axis: str) -> Any:
    """A line for each name, a mark with its interval for each kind."""
    kinds = [kind for kind in KINDS if any(value["kind"] == kind for value in values)]
    colours, shapes = ([KINDS[kind][i] for kind in kinds] for i in (0, 1))
    legend = alt.Legend(title=None, orient="bottom")
    base = alt.Chart(_data(values), title=title).encode(
        y=alt.Y(f"{by}:N", sort=names, title=None),
        yOffset=alt.YOffset("kind:N", sort=kinds),
        color=alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=colours), legend=legend),
    )
    rules = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title=axis, axis=alt.Axis(tickCount=7, labelOverlap=True)), x2="high:Q"
    )
    marks = base.mark_point(filled=True, size=55, opacity=1).encode(
        x="pt:Q", shape=alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=shapes), legend=legend)
    )
    zero = alt.Chart(_data([{"x": 0}])).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x="x:Q")
    return (zero + rules + marks).properties(width=WIDTH, height=ROW * len(names))


def _against(world: str, cost: Cost) -> Any:
    """Quality against one cost, labelled, the Pareto front as a line."""
    points = [point for point in cost.points if point[0] not in UNSHOWN]
    best = front(points)
    scales = _Scales(points)
    x = alt.X("cost:Q", title=cost.title, scale=alt.Scale(type="log", domain=scales.costs, nice=False))
    y = alt.Y("pt:Q", title="gap to Base, points of sAUC", scale=alt.Scale(domain=scales.points, nice=False))
    if cost.title.startswith("multiply"):
        x = x.axis(format="~s")
    rows = [
        {"name": name, "label": _label(name), "cost": value, "pt": pt, "front": name in best}
        for name, value, pt in points
    ]
    colour = alt.condition("datum.front", alt.value(BLUE), alt.value(GREY))
    line = alt.Chart(_data([row for row in rows if row["front"]])).mark_line(color=BLUE, strokeWidth=1.5)
    marks = alt.Chart(_data(rows)).mark_point(filled=True, size=60, opacity=1)
    layers = [line.encode(x=x, y=y), marks.encode(x=x, y=y, color=colour)]
    for place, own in scales.labels(points, best).items():
        labels = alt.Chart(_data([row for row in rows if row["name"] in own]))
        text = labels.mark_text(fontSize=11, align=place.align, dx=place.dx, dy=place.dy, baseline="middle")
        shade = alt.condition("datum.front", alt.value(BLUE), alt.value("#555a61"))
        layers.append(text.encode(x=x, y=y, text="label:N", color=shade))
    title = f"World {world}, {cost.candidates} candidates"
    return alt.layer(*layers, title=title).properties(width=WIDTH, height=HEIGHT)


@dataclass(frozen=True)
class _Place:
    """Where a label stands beside its point, in pixels."""

    align: Literal["left", "right", "center"]
    dx: float
    dy: float

    def box(self, x: float, y: float, text: str) -> Box:
        """Left, right, top, bottom."""
        width = LETTER * len(text)
        left = {"left": x + self.dx, "right": x + self.dx - width, "center": x + self.dx - width / 2}
        start = left[self.align]
        return start, start + width, y + self.dy - LINE / 2, y + self.dy + LINE / 2


_PLACES = (
    _Place("left", GAP, 0),
    _Place("right", -GAP, 0),
    _Place("center", 0, -LINE),
    _Place("center", 0, LINE),
    _Place("left", GAP, -LINE),
    _Place("left", GAP, LINE),
    _Place("right", -GAP, -LINE),
    _Place("right", -GAP, LINE),
)


class _Scales:
    """The ends of both axes, and labels that keep out of each other's way on them."""

    def __init__(self, points: list[tuple[str, float, float]]) -> None:
        values, quality = [value for _, value, _ in points], [pt for _, _, pt in points]
        room = 0.08 * (max(quality) - min(quality) or 1.0)
        self.costs = [min(values) / 1.6, max(values) * 1.6]
        self.points = [min(quality) - room, max(quality) + room]

    def labels(self, points: list[tuple[str, float, float]], line: list[str]) -> dict[_Place, list[str]]:
        """A place for each name: the one that covers least of points, of the line and of other labels."""
        centres = {name: self._pixel(value, pt) for name, value, pt in points}
        taken: list[Box] = [(x - 5, x + 5, y - 5, y + 5) for x, y in centres.values()]
        for (x, y), (u, v) in pairwise(centres[name] for name in line):
            along = ((x + (u - x) * i / _STEPS, y + (v - y) * i / _STEPS) for i in range(1, _STEPS))
            taken += [(x - 1, x + 1, y - 1, y + 1) for x, y in along]
        found: dict[_Place, list[str]] = {}
        for name, (x, y) in centres.items():
            place = min(_PLACES, key=lambda place: _covered(place.box(x, y, _label(name)), taken))
            taken.append(place.box(x, y, _label(name)))
            found.setdefault(place, []).append(name)
        return found

    def _pixel(self, value: float, pt: float) -> tuple[float, float]:
        low, high = (math.log(end) for end in self.costs)
        least, most = self.points
        return WIDTH * (math.log(value) - low) / (high - low), HEIGHT * (most - pt) / (most - least)


def _label(name: str) -> str:
    return name.replace(SUMMARY_KEPT, ", kept")


def _covered(box: Box, taken: list[Box]) -> float:
    """Pixels of other things under a box; much for an edge that it crosses."""
    left, right, top, bottom = box
    beyond = max(-left, 0) + max(right - WIDTH, 0) + max(-top, 0) + max(bottom - HEIGHT, 0)
    overlaps = (
        max(0.0, min(right, end) - max(left, start)) * max(0.0, min(bottom, below) - max(top, above))
        for start, end, above, below in taken
    )
    return 1000 * beyond + sum(overlaps)
