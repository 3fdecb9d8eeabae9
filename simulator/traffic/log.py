"""The log: past requests with randomly chosen candidates shown, and what users did. numpy only.

Models, calibration and the prior order are fitted on it. Letters: R requests, C ads shown.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRAIN, HOLDOUT = 0, 1
SPLITS = ("train", "holdout")


@dataclass(frozen=True)
class LogImpressions:
    """Logged requests sorted by time; every holdout request is later than every training request.

    `position` counts from 0; `conversion` is 1 only where `click` is 1. `p_true` is the world's click
    probability (None for a real log); metrics may weigh by it, models never see it. A request that showed
    fewer than C ads ends in gaps: ad -1, and 0 in the other columns.
    """

    request_id: NDArray[np.uint64]  #: (R,) unique within the log
    time_s: NDArray[np.float64]  #: (R,)
    user_id: NDArray[np.uint64]
    hour: NDArray[np.float32]
    propensity: NDArray[np.float32]
    split: NDArray[np.uint8]  #: TRAIN or HOLDOUT
    ad: NDArray[np.int32]  #: (R, C)
    ad_category: NDArray[np.uint16]
    position: NDArray[np.int8]
    click: NDArray[np.uint8]
    conversion: NDArray[np.uint8]
    p_true: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.request_id)

    @property
    def shown(self) -> NDArray[np.bool_]:
        """(R, C) which places hold an ad."""
        return self.ad >= 0

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of "train" or "holdout".

        Raises:
            ValueError: another split is asked for.
        """
        if split not in SPLITS:
            raise ValueError(f"Unknown split {split!r}. Known: {', '.join(SPLITS)}. Pick one of them.")
        return np.flatnonzero(self.split == SPLITS.index(split))

    def take(self, rows: NDArray[np.int64]) -> LogImpressions:
        """Some requests only."""
        columns: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        taken: dict[str, Any] = {name: None if c is None else c[rows] for name, c in columns.items()}
        return LogImpressions(**taken)
