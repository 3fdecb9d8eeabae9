"""The world an experiment file asks for, generated or from a log, and what is said about it beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulator.config.load import ExperimentConfig, log_split, world_config
from simulator.logs.manifest import MANIFEST, file_entry, read_manifest
from simulator.world.protocol import ExperimentWorld

_CALIBRATIONS = {
    "paper": "Interest strength was calibrated so that the AUC gap between short and long histories "
    "resembles the one LASER reports (arXiv:2602.11562). That gap is an input; money and latency are not."
}
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


def make_world(config: ExperimentConfig) -> ExperimentWorld:
    """Generate the world of a preset, or read that of a log.

    Raises:
        ValueError: the configuration asks for a world that cannot be built, or the log cannot be used.
    """
    if config.traffic.log is not None:
        from simulator.logs.world import load_log_world

        slots = config.market.slots or 1
        return load_log_world(Path(config.traffic.log), config.seed, log_split(config), slots)
    from simulator.world.world import build_world

    return build_world(world_config(config), config.seed)


def world_notes(config: ExperimentConfig) -> dict[str, Any]:
    """For the manifest: the world's name and what it was calibrated or fitted on. Inputs, not findings.

    Raises:
        ValueError: the log cannot be read.
    """
    if config.traffic.log is None:
        preset = config.traffic.preset
        calibration = _CALIBRATIONS.get(preset or "", _UNCALIBRATED)
        return {"preset": preset, "overrides": dict(config.traffic.world), "calibration": calibration}
    folder, split = Path(config.traffic.log), log_split(config)
    manifest = read_manifest(folder)
    return {
        "preset": None,
        "log": folder.name,
        "log_manifest_sha256": file_entry(folder / MANIFEST)["sha256"],
        **{key: manifest.get(key) for key in _OF_A_LOG},
        "split_days": {
            "training": split.holdout,
            "holdout": split.pre - split.holdout,
            "pre": split.experiment - split.pre,
            "experiment": split.end - split.experiment,
        },
        "calibration": _UNCALIBRATED,
    }
