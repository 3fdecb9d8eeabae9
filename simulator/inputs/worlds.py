"""The world an experiment file asks for: what it depends on, making it, and what is said about it beforehand.

Start at `world_source`: the file is asked once, everything after it asks the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.config.load import ExperimentConfig, log_split, world_config
from simulator.inputs.bids import BidSource, bid_source, with_bids
from simulator.logs.manifest import MANIFEST, file_entry, read_manifest
from simulator.logs.real_log import Split
from simulator.world.calibrated import calibrated
from simulator.world.config import WorldConfig
from simulator.world.protocol import ExperimentWorld

if TYPE_CHECKING:
    from simulator.world.fitted import LogWorld
    from simulator.world.world import World

_CALIBRATIONS = {
    "paper": "Interest strength was calibrated so that the AUC gap between short and long histories "
    "resembles the one LASER reports (arXiv:2602.11562). That gap is an input; money and latency are not."
}
_LARGE_USERS = 20_000  # of a generated world: some seconds' work, where starting processes takes one
_UNCALIBRATED = "None: nothing about the arms was put in."
_OF_A_LOG = (
    "source",
    "licence",
    "first_date",
    "last_date",
    "days",
    "sizes",
    "histories",
    "response",
    "invented",
)


@dataclass(frozen=True)
class LogSource:
    """A log folder as it was found, and what a run makes of it.

    Attributes:
        folder: made by `laser-ab import`.
        sha256: of its manifest, which holds those of its tables.
        manifest: what that says; see `simulator.logs.manifest`.
        split: the log's days.
        slots: ads per page.
    """

    folder: Path
    sha256: str
    manifest: dict[str, Any] = field(compare=False, repr=False)
    split: Split
    slots: int


@dataclass(frozen=True)
class WorldSource:
    """All that the inputs of an experiment depend on; equal sources are equal worlds.

    Attributes:
        made_of: the parameters of a generated world, or a log.
        seed: of its draws.
        ingest_delay_s: from a behaviour to its being readable.
        bids: in place of the tCPA that advertisers would have.
    """

    made_of: WorldConfig | LogSource
    seed: int
    ingest_delay_s: float
    bids: BidSource | None = None

    @property
    def knows_departments(self) -> bool:
        """Whether it says what its categories are part of; see `simulator.world.protocol.Sizes`."""
        if isinstance(self.made_of, LogSource):
            return "departments" in self.made_of.manifest
        return self.made_of.department > 1


def world_source(config: ExperimentConfig) -> WorldSource:
    """What the file's world depends on.

    Raises:
        ValueError: the world cannot be built, or the log cannot be read.
    """
    made_of: WorldConfig | LogSource
    if config.traffic.log is None:
        made_of = world_config(config)
    else:
        folder = Path(config.traffic.log)
        manifest = read_manifest(folder)
        made_of = LogSource(
            folder=folder,
            sha256=file_entry(folder / MANIFEST)["sha256"],
            manifest=manifest,
            split=log_split(config, int(manifest["days"])),
            slots=config.market.slots or 1,
        )
    bids = None if config.market.bids is None else bid_source(config.market.bids)
    return WorldSource(made_of, config.seed, config.experiment.ingest_delay_s, bids)


def make_world(source: WorldSource, jobs: int = 1) -> ExperimentWorld:
    """Generate a world, or read that of a log.

    Args:
        jobs: processes that a large world is drawn by; it is the same for any number.

    Raises:
        ValueError: it cannot be built, or the log cannot be used.
    """
    world = _made(source, jobs)
    if source.bids is not None:
        world = replace(world, catalogue=with_bids(world.catalogue, source.bids, source.seed))
    return world


def _made(source: WorldSource, jobs: int) -> World | LogWorld:
    if isinstance(source.made_of, LogSource):
        from simulator.logs.world import load_log_world

        log = source.made_of
        return load_log_world(log.folder, source.seed, log.split, log.slots)
    from simulator.world.world import build_world

    large = source.made_of.users >= _LARGE_USERS
    return build_world(source.made_of, source.seed, jobs=jobs if large else 1)


def like_of(config: ExperimentConfig) -> str | None:
    """The log that the file's generated world was made to resemble; None: none, or it is a log itself."""
    preset = config.traffic.preset
    if config.traffic.like is None and preset in calibrated():
        return calibrated()[preset].like
    return config.traffic.like


def world_notes(config: ExperimentConfig, source: WorldSource) -> dict[str, Any]:
    """For the manifest: the world's name and what it was calibrated or fitted on. Inputs, not findings."""
    if not isinstance(source.made_of, LogSource):
        preset = config.traffic.preset
        calibration = _CALIBRATIONS.get(preset or "", _UNCALIBRATED)
        like = like_of(config)
        if like is not None:
            calibration = f"On the log {like}: what users do, and how often they click."
        return {"preset": preset, "overrides": dict(config.traffic.world), "calibration": calibration}
    log = source.made_of
    return {
        "preset": None,
        "log": log.folder.name,
        "log_manifest_sha256": log.sha256,
        **{key: log.manifest.get(key) for key in _OF_A_LOG},
        "split_days": {
            "training": log.split.holdout,
            "holdout": log.split.pre - log.split.holdout,
            "pre": log.split.experiment - log.split.pre,
            "experiment": log.split.end - log.split.experiment,
        },
        "calibration": _UNCALIBRATED,
    }
