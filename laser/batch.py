"""What a ranking model reads: several requests at once, each with one history and its candidates.

Histories are jagged (flat columns and offsets), oldest behaviour first, so that a request's history is stored
once however many candidates it has. Nothing is padded until a model asks for it.

Letters used throughout the package: B requests, C candidates, L behaviours (padded), N behaviours (flat),
S segments, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

HISTORY = {
    "category": torch.int64,
    "action": torch.int64,
    "scene": torch.int64,
    "age_s": torch.float32,
    "dwell_s": torch.float32,
}
CANDIDATES = {"ad": torch.int64, "ad_category": torch.int64, "position": torch.int64}
REQUEST = {"candidate_count": torch.int64, "hour": torch.float32, "propensity": torch.float32}
_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(np.int64 if dtype is torch.int64 else np.float32)
    for name, dtype in {**HISTORY, **CANDIDATES, **REQUEST}.items()
}


@dataclass(frozen=True)
class RankingBatch:
    """B requests, their histories and their candidates.

    Attributes:
        category, action, scene: (N,) int64, ids of the behaviours, oldest first within a request.
        age_s: (N,) float32, request time minus behaviour time, seconds, at least 0.
        dwell_s: (N,) float32, seconds.
        offsets: (B + 1,) int64; request b owns behaviours offsets[b] to offsets[b + 1] - 1.
        ad, ad_category, position: (B, C) int64.
        candidate_count: (B,) int64; candidates from this index on are padding and score -inf.
        hour: (B,) float32, hour of the day in [0, 24).
        propensity: (B,) float32, the user's noisy click propensity, a logit.
        longest: behaviours in the longest history, known to the host.
        even: every history is `longest` long, so no padding is needed.
        full: every request has C candidates, so no mask is needed.

    Raises:
        ValueError: a tensor has the wrong shape or dtype.
    """

    category: Tensor
    action: Tensor
    scene: Tensor
    age_s: Tensor
    dwell_s: Tensor
    offsets: Tensor
    ad: Tensor
    ad_category: Tensor
    position: Tensor
    candidate_count: Tensor
    hour: Tensor
    propensity: Tensor
    longest: int = field(default=-1)
    even: bool = field(default=False)
    full: bool = field(default=False)

    def __post_init__(self) -> None:
        _check_tensors(self)
        if self.longest < 0:  # Built from tensors: learn once what the models need on the host.
            lengths = self.offsets.diff()
            longest = int(lengths.max()) if len(lengths) else 0
            object.__setattr__(self, "longest", longest)
            object.__setattr__(self, "even", bool((lengths == longest).all()))
            object.__setattr__(self, "full", bool((self.candidate_count == self.candidates).all()))

    @classmethod
    def from_numpy(
        cls,
        *,
        category: ArrayLike,
        action: ArrayLike,
        scene: ArrayLike,
        age_s: ArrayLike,
        dwell_s: ArrayLike,
        offsets: ArrayLike,
        ad: ArrayLike,
        ad_category: ArrayLike,
        position: ArrayLike,
        hour: ArrayLike,
        propensity: ArrayLike,
        candidate_count: ArrayLike | None = None,
    ) -> RankingBatch:
        """Build a batch from arrays of any integer or float width, checking values as well as shapes.

        Args:
            candidate_count: (B,); left out, every request has all C candidates.

        Raises:
            ValueError: shapes disagree, offsets do not partition the behaviours, an id is negative, an age is
                negative or not finite, or a candidate_count lies outside [0, C].
        """
        given: dict[str, ArrayLike] = {
            "category": category, "action": action, "scene": scene, "age_s": age_s, "dwell_s": dwell_s,
            "ad": ad, "ad_category": ad_category, "position": position, "hour": hour,
            "propensity": propensity,
        }  # fmt: skip
        arrays = {name: _as(name, value, _DTYPES[name]) for name, value in given.items()}
        bounds = _as("offsets", offsets, np.dtype(np.int64))
        if arrays["ad"].ndim != 2:
            raise ValueError(
                f"ad has shape {arrays['ad'].shape}, expected (B, C). Reshape it to requests x candidates."
            )
        requests, candidates = arrays["ad"].shape
        counts = (
            np.full(requests, candidates, np.int64)
            if candidate_count is None
            else _as("candidate_count", candidate_count, np.dtype(np.int64))
        )
        lengths = _check_offsets(bounds, requests, len(arrays["category"]))
        _check_values(arrays, counts, candidates)
        longest = int(lengths.max()) if requests else 0
        return cls(
            **{name: torch.from_numpy(array) for name, array in arrays.items()},
            offsets=torch.from_numpy(bounds),
            candidate_count=torch.from_numpy(counts),
            longest=longest,
            even=bool((lengths == longest).all()),
            full=bool((counts == candidates).all()),
        )

    @property
    def requests(self) -> int:
        """B, the number of requests."""
        return self.ad.shape[0]

    @property
    def candidates(self) -> int:
        """C, the candidates of a request, padding included."""
        return self.ad.shape[1]

    @property
    def lengths(self) -> Tensor:
        """(B,) int64, behaviours of each request."""
        return self.offsets.diff()

    def even_segments(self, segment: int) -> bool:
        """Whether every history fills whole segments, so that nothing will be padded."""
        return self.even and self.longest > 0 and self.longest % segment == 0

    def to(self, device: torch.device | str) -> RankingBatch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name not in _HOST}
        return replace(self, **moved)

    def align(self, values: Tensor, multiple: int = 1) -> Tensor:
        """Lay flat values out as (B, L), the newest behaviour of every request in the last column.

        Histories are aligned at their newest end, padded in front with 0, and L is the longest history
        rounded up to `multiple` (at least one `multiple`), so that segments counted from the end never
        straddle.

        Args:
            values: (N,), one value per behaviour; 0 must mean padding to whoever reads the result.
        """
        width = max(-(-self.longest // multiple), 1) * multiple
        if self.even and width == self.longest:
            return values.view(self.requests, width)
        if self.even:
            rows = values.view(self.requests, self.longest)
            return torch.nn.functional.pad(rows, (width - self.longest, 0))
        lengths = self.lengths
        # Behaviour i of request b goes to column width - (offsets[b + 1] - i).
        shift = torch.arange(1, self.requests + 1, device=values.device) * width - self.offsets[1:]
        place = torch.arange(len(values), device=values.device) + shift.repeat_interleave(
            lengths, output_size=len(values)
        )
        return values.new_zeros(self.requests * width).index_copy(0, place, values).view(self.requests, width)

    def padded(self, max_length: int | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """The history columns as (B, L) tensors and the (B, L) mask of real behaviours, newest last.

        Plain and unhurried: for inspection and for models that want padded columns. `max_length` keeps the
        newest behaviours only.
        """
        batch = self if max_length is None else self.newest(max_length)
        columns = {name: batch.align(getattr(batch, name)) for name in HISTORY}
        return columns, batch.align(torch.ones_like(batch.category)).bool()

    def newest(self, length: int) -> RankingBatch:
        """Keep the newest `length` behaviours of each request."""
        if length < 0:
            raise ValueError(f"length is {length}, expected 0 or more. Pass the behaviours to keep.")
        if length >= self.longest:
            return self
        ends = self.offsets[1:].repeat_interleave(self.lengths)
        return self._select(ends - torch.arange(len(ends), device=ends.device) <= length)

    def older(self, age_s: Tensor) -> RankingBatch:
        """Keep the behaviours of at least an age.

        Args:
            age_s: (B,) seconds, one bound for each request.
        """
        return self._select(self.age_s >= age_s.repeat_interleave(self.lengths))

    def only_scenes(self, scenes: tuple[int, ...]) -> RankingBatch:
        """Keep the behaviours of some scenes, each scene being one sequence type."""
        keep = torch.zeros_like(self.scene, dtype=torch.bool)
        for scene in scenes:  # no tensor of them: a captured graph cannot copy one from the host
            keep |= self.scene == scene
        return self._select(keep)

    def _select(self, keep: Tensor) -> RankingBatch:
        kept = torch.nn.functional.pad(keep.cumsum(0), (1, 0))[self.offsets]
        columns = {name: getattr(self, name)[keep] for name in HISTORY}
        return replace(self, **columns, offsets=kept, longest=-1)


_HOST = ("longest", "even", "full")


def _as(name: str, value: ArrayLike, dtype: np.dtype[Any]) -> NDArray[Any]:
    """An owned, contiguous array of `dtype`; ids may come in any integer width, never as floats."""
    array = np.asarray(value)
    if dtype.kind == "i" and array.dtype.kind not in "iu" and array.size:
        raise ValueError(
            f"{name} has dtype {array.dtype}, expected integers. Convert ids before building a batch."
        )
    if array.dtype.kind not in "iufb":
        raise ValueError(
            f"{name} has dtype {array.dtype}, expected numbers. Convert it before building a batch."
        )
    return np.ascontiguousarray(array, dtype) if array.flags.writeable else array.astype(dtype)


def _check_offsets(bounds: NDArray[Any], requests: int, behaviours: int) -> NDArray[Any]:
    if bounds.shape != (requests + 1,):
        raise ValueError(
            f"offsets has shape {bounds.shape}, expected ({requests + 1},) for {requests} requests. "
            "Pass one start for each request and the total at the end."
        )
    lengths = np.diff(bounds)
    if bounds[0] != 0 or bounds[-1] != behaviours or (lengths < 0).any():
        raise ValueError(
            f"offsets run from {bounds[0]} to {bounds[-1]} over {behaviours} behaviours, expected a "
            "non-decreasing run from 0 to the number of behaviours. Rebuild them from the history lengths."
        )
    return lengths


def _check_values(arrays: dict[str, NDArray[Any]], counts: NDArray[Any], candidates: int) -> None:
    for name in ("category", "action", "scene", "ad", "ad_category", "position"):
        array = arrays[name]
        if array.size and array.min() < 0:
            raise ValueError(
                f"{name} holds {array.min()}, expected ids of 0 or more. Drop or remap that row."
            )
    for name in ("age_s", "dwell_s"):
        array = arrays[name]
        # NaN fails both comparisons, so this also finds it.
        if array.size and not (array.min() >= 0 and array.max() < np.inf):
            raise ValueError(
                f"{name} spans {array.min()} to {array.max()}, expected finite seconds of 0 or more. "
                "A negative age means a behaviour later than the request: cut the history there."
            )
    for name in ("hour", "propensity"):
        if not np.isfinite(arrays[name]).all():
            raise ValueError(
                f"{name} holds a value that is not finite, expected numbers. Fill it before scoring."
            )
    if counts.size and not (counts.min() >= 0 and counts.max() <= candidates):
        raise ValueError(
            f"candidate_count spans {counts.min()} to {counts.max()}, expected 0 to {candidates}. "
            "It counts the real candidates at the front of each row."
        )


def _check_tensors(batch: RankingBatch) -> None:
    behaviours, shape = batch.category.shape, batch.ad.shape
    if len(behaviours) != 1 or len(shape) != 2:
        raise ValueError(
            f"category has shape {tuple(behaviours)} and ad {tuple(shape)}, expected (N,) and (B, C). "
            "Histories are flat, candidates are one row per request."
        )
    groups = ((HISTORY, behaviours), (CANDIDATES, shape), (REQUEST, shape[:1]))
    for columns, expected in groups:
        for name, dtype in columns.items():
            tensor = getattr(batch, name)
            if tensor.shape != expected or tensor.dtype is not dtype:
                raise ValueError(
                    f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, expected {dtype} of shape "
                    f"{tuple(expected)}. RankingBatch.from_numpy converts dtypes; shapes must agree."
                )
    if batch.offsets.shape != (shape[0] + 1,) or batch.offsets.dtype is not torch.int64:
        raise ValueError(
            f"offsets is {batch.offsets.dtype} of shape {tuple(batch.offsets.shape)}, expected torch.int64 "
            f"of shape ({shape[0] + 1},). Pass one start for each request and the total at the end."
        )
