"""How large an experiment will be, known from its file, or from its log's manifest, before anything is made.

Start at `extent_of`. No table is read and no world built, so this takes milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from simulator.config.load import ExperimentConfig, log_split, world_config
from simulator.logs.manifest import read_manifest
from simulator.world.config import WorldConfig

_BEHAVIOUR_BYTES = 22  # a row of `simulator.traffic.behaviours`


@dataclass(frozen=True)
class Extent:
    """An experiment's sizes.

    Attributes:
        users, ads: of the world.
        candidates: to rank per request.
        requests: of the trace that is replayed, pre-period included; about, for a log.
        training_requests: of the log that models learn from; about.
        pre_days, days: of the trace.
        shortest, longest: behaviours that a request may find in its user's history; about.
        histories_gib: of all histories, which a run keeps in temporary files; about.
    """

    users: int
    ads: int
    candidates: int
    requests: int
    training_requests: int
    pre_days: int
    days: int
    shortest: int
    longest: int
    histories_gib: float


def extent_of(config: ExperimentConfig) -> Extent:
    """The sizes of the file's world or log.

    Raises:
        SimulatorError: the world cannot be built, or the log cannot be read.
    """
    return _of_world(world_config(config)) if config.traffic.log is None else _of_log(config)


def _of_world(world: WorldConfig) -> Extent:
    learned = world.log_days / (world.log_days + world.holdout_days)
    added = _behaviours_per_day(world) * (world.log_days + world.holdout_days + world.pre_days + world.days)
    kept = min(world.history_median, world.history_max)
    return Extent(
        users=world.users,
        ads=world.ads,
        candidates=world.candidates,
        requests=world.requests,
        training_requests=round(world.users * world.log_requests * learned),
        pre_days=world.pre_days,
        days=world.days,
        shortest=world.history_min,
        # The most active users visit at more than twice the mean pace.
        longest=world.history_max + math.ceil(2.5 * added),
        histories_gib=world.users * (kept + added) * _BEHAVIOUR_BYTES / 2**30,
    )


def _behaviours_per_day(world: WorldConfig) -> float:
    """Of a user of mean activity: session length over the mean of the lognormal gap between sessions."""
    return world.session_mean / (world.session_gap_days * math.exp(world.session_gap_sd**2 / 2))


def _of_log(config: ExperimentConfig) -> Extent:
    manifest = read_manifest(Path(config.traffic.log or ""))
    sizes, all_days = manifest["sizes"], int(manifest["days"])
    split = log_split(config, all_days)
    per_day = sizes["requests"] / all_days
    return Extent(
        users=sizes["users"],
        ads=sizes["ads"],
        candidates=sizes["candidates"],
        requests=round(per_day * (split.end - split.pre)),
        training_requests=round(per_day * split.holdout),
        pre_days=split.experiment - split.pre,
        days=split.end - split.experiment,
        shortest=0,
        longest=int(manifest.get("histories", {}).get("max", 0)) or sizes["impressions"],
        histories_gib=sizes["impressions"] * _BEHAVIOUR_BYTES / 2**30,
    )
