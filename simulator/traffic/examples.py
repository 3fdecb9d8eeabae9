"""Examples for training and held-out scoring: what a model may know at request time, and the label.

A behaviour enters only if time_s < request time - ingest_delay_s: what a real pipeline would have
delivered by then. User ids, interests and qualities never enter. The arrays carry the names and
dtypes of laser's `ExampleSet`, so `ExampleSet(**vars(arrays))` makes one without a copy.

Letters: N behaviours (flat, all users), R requests, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.behaviours import Behaviours
from simulator.traffic.log import LogImpressions


@dataclass(frozen=True)
class ExampleArrays:
    """Histories once (N,), and per request the slice [history_start, history_end) of them known to it.

    `p_true` weighs metrics and `user` groups them; neither is an input of a model.
    """

    category: NDArray[np.uint16]
    action: NDArray[np.uint8]
    scene: NDArray[np.uint8]
    dwell_s: NDArray[np.uint16]
    time_s: NDArray[np.int64]
    history_start: NDArray[np.int64]
    history_end: NDArray[np.int64]
    request_time_s: NDArray[np.float64]
    hour: NDArray[np.float32]
    propensity: NDArray[np.float32]
    ad: NDArray[np.int32]
    ad_category: NDArray[np.uint16]
    position: NDArray[np.int8]
    label: NDArray[np.uint8]
    p_true: NDArray[np.float32] | None
    user: NDArray[np.int64]


def log_examples(
    behaviours: Behaviours,
    log: LogImpressions,
    split: str | None = None,
    *,
    ingest_delay_s: float = 60.0,
) -> ExampleArrays:
    """Examples of the log, labels included.

    Args:
        split: "train", "holdout" or None for both.
        ingest_delay_s: a behaviour is readable this long after it happened.

    Raises:
        ValueError: unknown split, a negative delay, or a logged user without an entry in behaviours.
    """
    if split is not None:
        log = log.take(log.rows(split))
    start, end = history_slices(behaviours, log.user_id, log.time_s, ingest_delay_s)
    return ExampleArrays(
        behaviours.category,
        behaviours.action,
        behaviours.scene,
        behaviours.dwell_s,
        behaviours.time_s,
        history_start=start,
        history_end=end,
        request_time_s=log.time_s,
        hour=log.hour,
        propensity=log.propensity,
        ad=log.ad,
        ad_category=log.ad_category,
        position=log.position,
        label=log.click,
        p_true=log.p_true,
        user=log.user_id.astype(np.int64),
    )


def history_slices(
    behaviours: Behaviours,
    user_id: NDArray[np.uint64],
    time_s: NDArray[np.float64],
    ingest_delay_s: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(start, end) rows, each i8 (R,), of behaviours known at each moment.

    Raises:
        ValueError: a negative delay, or a user without an entry in behaviours.
    """
    if not ingest_delay_s >= 0:
        raise ValueError(f"ingest_delay_s is {ingest_delay_s}, expected at least 0 s. Correct it.")
    row = np.searchsorted(behaviours.users, user_id)
    known = behaviours.users[np.minimum(row, len(behaviours.users) - 1)] == user_id
    if not known.all():
        raise ValueError(
            f"User {int(user_id[np.argmin(known)])} has no entry in the behaviours of "
            f"{len(behaviours.users)} users. Use behaviours and requests of the same world."
        )
    start = behaviours.offsets[row]
    return start, start + behaviours.count_before(row, time_s - ingest_delay_s)
