"""A sweep's cells as answers read them: points, lines along one axis, and numbers with interval and truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from numpy.typing import NDArray

from simulator.results.axes import Axis, in_words
from simulator.results.read import Sweep
from simulator.results.scorecard import arms_of, control_name, effects, treatment_names

Settings = Mapping[str, Any]
#: Settings below it are an arm's own.
ARMS = "arms."


@dataclass(frozen=True)
class Known:
    """A number as the A/B tells it, and as it is; None where unknown.

    Attributes:
        value: the A/B's estimate.
        ci: its interval over users.
        true: the truth.
        true_se: the truth's standard error over users of the world and paths of clicks.
    """

    value: float | None = None
    ci: tuple[float, float] | None = None
    true: float | None = None
    true_se: float | None = None

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """Both ends of the interval."""
        return (None, None) if self.ci is None else self.ci


@dataclass(frozen=True)
class Point:
    """One cell that was simulated.

    Attributes:
        cell: its number.
        settings: of the axes, by key.
        card: its scorecard.
        users: by treatment, the columns of its table `paired`; None where there is none.
    """

    cell: int
    settings: Settings
    card: Mapping[str, Any]
    users: Callable[[], Mapping[str, Mapping[str, NDArray[Any]]] | None] = lambda: None

    @property
    def treatments(self) -> list[str]:
        """Their names."""
        return treatment_names(self.card)

    @property
    def arms(self) -> list[str]:
        """Control first."""
        return [control_name(self.card), *self.treatments]

    def of_arm(self, arm: str, metric: str) -> Known:
        """A metric of one arm by itself."""
        found = arms_of(self.card)[arm].get("values", {}).get(metric) or {}
        return Known(found.get("value"), _ends(found.get("ci")), found.get("true_value"))

    def lift(self, arm: str, metric: str | None = None) -> Known:
        """A treatment's lift over control; of the primary metric by default."""
        for effect in effects(self.card):
            if effect.arm == arm and (
                effect.metric == metric or (metric is None and effect.role == "primary")
            ):
                told = (effect.lift, _ends(effect.ci)) if effect.enough else (None, None)
                return Known(*told, effect.true_lift, effect.true_se)
        return Known()

    def pair(self, arm: str, other: str) -> tuple[float, float | None] | None:
        """A treatment's true lift over another, paired by user, and its error; None where not known."""
        for pair in self.card.get("pairs") or ():
            lift, se = pair["true_lift"], pair["true_se"]
            if lift is None or {arm, other} != {pair["treatment"], pair["against"]}:
                continue
            if arm == pair["treatment"]:
                return lift, se
            return -lift / (1 + lift), None if se is None else se / (1 + lift) ** 2
        return None

    def needed(self, arm: str) -> Mapping[str, Any] | None:
        """What telling the primary metric's true lift takes: requests, users, days; None where unknown."""
        metrics = arms_of(self.card)[arm]["metrics"].values()
        found = next((entry.get("needed") for entry in metrics if entry.get("role") == "primary"), None)
        return found or None

    def serving(self, arm: str) -> Mapping[str, Any]:
        """How busy the arm's servers were, and how many they are."""
        return arms_of(self.card)[arm].get("serving") or {}


def points_of(sweep: Sweep) -> list[Point]:
    """The cells that have a scorecard."""
    places = sweep.places
    cards = {cell: sweep.cell(cell) for cell in sweep.cells if cell < len(places)}
    # Two at a time: cells are compared with the same one.
    paired = lru_cache(2)(sweep.paired)
    return [
        Point(cell, places[cell], card, partial(paired, cell))
        for cell, card in cards.items()
        if card is not None
    ]


def lines_along(points: Sequence[Point], key: str) -> list[tuple[Settings, list[Point]]]:
    """The points by what they have in common, each group in the order of one axis, which must be numeric."""
    return [
        (rest, sorted(line, key=lambda point: point.settings[key]))
        for rest, line in groups_of(points, lambda other: other != key)
    ]


def groups_of(points: Iterable[Point], common: Any) -> list[tuple[Settings, list[Point]]]:
    """The points by their settings of the axes for whose keys `common` holds."""
    found: dict[str, tuple[Settings, list[Point]]] = {}
    for point in points:
        shared = {key: value for key, value in point.settings.items() if common(key)}
        found.setdefault(repr(shared), (shared, []))[1].append(point)
    return list(found.values())


def groups_of_arm(
    points: Sequence[Point], arm: str, but: str | None = None
) -> list[tuple[Settings, list[Point]]]:
    """The points by the settings that an arm's outcome depends on: all but those of other treatments.

    Control's count for every arm, since lifts are over control.

    Args:
        points: at least one.
        arm: whose.
        but: the key of an axis along which points are not parted either.
    """
    own = tuple(f"{ARMS}{name}." for name in (arm, points[0].arms[0]))
    return groups_of(points, lambda key: key != but and (not key.startswith(ARMS) or key.startswith(own)))


def words(axes: Sequence[Axis], settings: Settings) -> str:
    """Settings as a reader meets them; empty where there are none."""
    return in_words([axis for axis in axes if axis.key in settings], settings) if settings else ""


def is_own(axes: Sequence[Axis], settings: Settings) -> bool:
    """Whether settings are the ones next to the experiment's own."""
    return all(axis.nearest == settings[axis.key] for axis in axes if axis.key in settings)


def _ends(ci: Sequence[float | None] | None) -> tuple[float, float] | None:
    if ci is None:
        return None
    low, high = ci
    return None if low is None or high is None else (low, high)
