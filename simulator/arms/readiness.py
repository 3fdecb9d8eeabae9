"""What would end an experiment an hour from now, found out before any work. Start at `check_ready`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from laser.models import build_model
from laser.scoring.runtime import resolve_device
from seqvault.store import open_store
from simulator.arms.training import arm_ladder, needed_models, sized
from simulator.config.load import ExperimentConfig
from simulator.logs.manifest import check_files, read_manifest
from simulator.serving.profile import ServiceProfile, load
from simulator.world.protocol import Sizes

_SMALLEST = Sizes(categories=1, ads=1, scenes=1, actions=1)  # enough to see that a model can be built


def check_ready(config: ExperimentConfig) -> ServiceProfile | None:
    """Find out what would end a run or sweep later; the profile, None for live times.

    Raises:
        ProfileError: the profile is missing, damaged, or lacks a store or model of the arms.
        ValueError: as `check_parts`.
    """
    check_parts(config)
    if config.experiment.service_times == "live":
        return None
    profile = load(config.experiment.profile_path)
    for name in config.arm_names:
        profile.store_grid(config.arms[name].store_key)
        for step in arm_ladder(config, name)[:-1]:
            profile.score_grid(step.model or "")
    return profile


def check_parts(config: ExperimentConfig) -> None:
    """Find out whether the device, the log, the models and the stores are there.

    Raises:
        DeviceError: the device is absent.
        TraceError: a file of the log is missing or has changed.
        StoreError: a store cannot be opened with its options.
        ValueError: a model cannot be built with its options.
    """
    resolve_device(config.experiment.device)
    if config.traffic.log is not None:
        check_files(Path(config.traffic.log), read_manifest(Path(config.traffic.log)))
    for spec in needed_models(config):
        build_model(sized(_SMALLEST, spec), config.training_seed)  # it is built with these options
    for arm in config.arms.values():
        with (
            tempfile.TemporaryDirectory() as folder,
            open_store(arm.store, Path(folder), **arm.store_options),
        ):
            pass  # it opens with these options
