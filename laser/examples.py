"""Training and evaluation examples: requests with their labels, histories stored once and referenced by
slices.

Everything a model may know is in the columns that `ExampleSet.batch` reads. `p_true` (the simulated truth)
and `user` never reach a model: they serve metrics only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laser.batch import RankingBatch

_BEHAVIOURS = ("category", "action", "scene", "dwell_s", "time_s")
_PER_REQUEST = ("history_start", "history_end", "request_time_s", "hour", "propensity", "user")
_PER_CANDIDATE = ("ad", "ad_category", "position", "label")
_INTEGER = (*_BEHAVIOURS, "history_start", "history_end", "user", *_PER_CANDIDATE)


@dataclass(frozen=True)
class ExampleSet:
    """R requests with C candidates each, over the flat behaviours of all users.

    Attributes:
        category, action, scene, dwell_s [s], time_s [s]: flat, grouped by user, oldest first within a user.
        history_start, history_end: (R,) slice of the flat columns that is known at the request.
        request_time_s: (R,) seconds on the clock of time_s.
        hour: (R,) hour of the day; propensity: (R,) the user's noisy click propensity, a logit.
        ad, ad_category, position: (R, C); ad -1 marks a missing candidate, allowed at the end of a row only.
        label: (R, C), 1 if clicked.
        p_true: (R, C) true click probability, or None outside a simulated world. For metrics only.
        user: (R,) for grouped metrics only, never a feature.

    Raises:
        ValueError: shapes or dtypes disagree, a slice leaves the flat columns, a behaviour is not older than
            its request, or a label is neither 0 nor 1.
    """

    category: NDArray[Any]
    action: NDArray[Any]
    scene: NDArray[Any]
    dwell_s: NDArray[Any]
    time_s: NDArray[Any]
    history_start: NDArray[Any]
    history_end: NDArray[Any]
    request_time_s: NDArray[Any]
    hour: NDArray[Any]
    propensity: NDArray[Any]
    ad: NDArray[Any]
    ad_category: NDArray[Any]
    position: NDArray[Any]
    label: NDArray[Any]
    user: NDArray[Any]
    p_true: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)

    def __len__(self) -> int:
        return int(self.ad.shape[0])

    @property
    def candidates(self) -> int:
        """C, the candidates of a request."""
        return int(self.ad.shape[1])

    @property
    def shown(self) -> NDArray[np.bool_]:
        """(R, C) mask of the candidates that exist."""
        return self.ad >= 0

    def take(self, rows: NDArray[Any]) -> ExampleSet:
        """The chosen requests, over the same flat behaviours (not copied)."""
        chosen = {name: getattr(self, name)[rows] for name in (*_PER_REQUEST, *_PER_CANDIDATE)}
        return replace(self, **chosen, p_true=None if self.p_true is None else self.p_true[rows])

    def batch(self, rows: NDArray[Any], length: int) -> RankingBatch:
        """What a model sees of some requests, with the newest `length` behaviours of each history.

        Raises:
            ValueError: length is negative.
        """
        return RankingBatch.from_numpy(**self.columns(rows, length))

    def columns(self, rows: NDArray[Any], length: int) -> dict[str, NDArray[Any]]:
        """The columns of that batch as they come, of the widths that they have here.

        Raises:
            ValueError: length is negative.
        """
        if length < 0:
            raise ValueError(f"length is {length}, expected 0 or more. Pass the behaviours to keep.")
        end = self.history_end[rows].astype(np.int64)
        lengths = np.minimum(end - self.history_start[rows], length)
        offsets = np.zeros(len(end) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        flat = np.arange(offsets[-1]) + np.repeat(end - offsets[1:], lengths)
        history = {name: getattr(self, name)[flat] for name in _BEHAVIOURS}
        ad = self.ad[rows]
        shown = ad >= 0
        return {
            "age_s": np.repeat(self.request_time_s[rows], lengths) - history.pop("time_s"),
            **history,
            "offsets": offsets,
            "ad": np.where(shown, ad, 0),
            "ad_category": np.where(shown, self.ad_category[rows], 0),
            "position": self.position[rows],
            "candidate_count": shown.sum(1),
            "hour": self.hour[rows],
            "propensity": self.propensity[rows],
        }


def _check_shapes(examples: ExampleSet) -> None:
    flat, shape = examples.category.shape, examples.ad.shape
    if len(flat) != 1 or len(shape) != 2:
        raise ValueError(
            f"category has shape {flat} and ad {shape}, expected (N,) and (R, C). "
            "Behaviours are flat, candidates are one row per request."
        )
    expected = {
        **dict.fromkeys(_BEHAVIOURS, flat),
        **dict.fromkeys(_PER_REQUEST, shape[:1]),
        **dict.fromkeys((*_PER_CANDIDATE, "p_true"), shape),
    }
    for column in fields(examples):
        array = getattr(examples, column.name)
        if column.name == "p_true" and array is None:
            continue
        if array.shape != expected[column.name]:
            raise ValueError(
                f"{column.name} has shape {array.shape}, expected {expected[column.name]}. "
                "All behaviours share one length, all requests another."
            )
        if column.name in _INTEGER and array.dtype.kind not in "iu":
            raise ValueError(f"{column.name} has dtype {array.dtype}, expected integers. Convert it first.")


def _check_values(examples: ExampleSet) -> None:
    start, end = examples.history_start, examples.history_end
    behaviours = len(examples.category)
    if len(start) and not (start.min() >= 0 and (start <= end).all() and end.max() <= behaviours):
        raise ValueError(
            f"history slices span {start.min()} to {end.max()} over {len(examples.category)} behaviours, "
            "expected 0 <= start <= end <= behaviours. Rebuild them from the users' offsets."
        )
    known = start < end
    newest_s = examples.time_s[end[known] - 1]
    late = newest_s > examples.request_time_s[known]
    if late.any():
        raise ValueError(
            f"{int(late.sum())} requests see a behaviour later than themselves, expected none. "
            "End each history slice before the request time."
        )
    shown = examples.shown
    if (shown[:, 1:] & ~shown[:, :-1]).any():
        raise ValueError(
            "ad has a candidate after a missing one (-1), expected gaps at the end of a row only."
        )
    if not np.isin(examples.label, (0, 1)).all():
        raise ValueError(f"label holds {examples.label.max()}, expected 0 or 1. Pass clicks, not counts.")
