"""An experiment resolved: what its file means on this machine, found out once and before any work.

Start at `make_plan`. Every stage and every worker process asks the plan, not the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from laser.scoring.runtime import resolve_device
from simulator.arms.arm import Arm, arms_of
from simulator.arms.arrivals import read_arrivals
from simulator.arms.readiness import (
    check_models,
    check_precisions,
    check_profile,
    check_stores,
    check_summaries,
)
from simulator.config.load import ExperimentConfig
from simulator.inputs.prepare import Prepared, prepare
from simulator.inputs.worlds import LogSource, WorldSource, world_source
from simulator.logs.manifest import check_files
from simulator.serving.profile import ServiceProfile, load


@dataclass(frozen=True)
class Plan:
    """What an experiment is.

    Attributes:
        config: the file's values, for settings that nothing here replaces.
        arms: control first, then the treatments in the file's order.
        device: such as "cpu" or "cuda:0"; never "auto".
        world: what the experiment's inputs depend on.
        profile: the service times; None where they are measured live.
        arrivals: (N,) moments of a recorded trace, by which requests come; None: as the world has them.
    """

    config: ExperimentConfig
    arms: tuple[Arm, ...]
    device: str
    world: WorldSource
    profile: ServiceProfile | None
    arrivals: NDArray[np.float64] | None = field(compare=False, repr=False)

    @property
    def control(self) -> Arm:
        """The arm that the others are compared with."""
        return self.arms[0]

    @property
    def treatments(self) -> tuple[Arm, ...]:
        """The arms that are compared with the control."""
        return self.arms[1:]

    @property
    def threads(self) -> int:
        """torch's threads."""
        return self.config.experiment.torch_threads

    @property
    def prepared(self) -> Prepared:
        """The world and what its log teaches; built once per process.

        Raises:
            ValueError: the world cannot be built.
        """
        return prepare(self.world)


def make_plan(config: ExperimentConfig, *, profiled: bool = True, like: Plan | None = None) -> Plan:
    """Resolve an experiment, and find out now what would end it an hour from now.

    Args:
        config: the experiment.
        profiled: whether its profile is needed; measuring and training need none.
        like: another plan; what both have in common is not looked into again.

    Raises:
        DeviceError: the device is absent.
        SimulatorError: the device does not have an arm's precision, or the trace of arrivals cannot be read.
        TraceError: a file of the log is missing or has changed.
        ProfileError: the profile is missing, damaged, or lacks a store or model of the arms.
        StoreError: a store cannot be opened with its options.
        ModelError: a model cannot be built with its options.
        PluginError: a store or model of the user's own fails, or does not keep its promises.
    """
    device = str(resolve_device(config.experiment.device))
    arms, world = arms_of(config), world_source(config)
    if isinstance(world.made_of, LogSource) and (like is None or not _same_log(world, like.world)):
        check_files(world.made_of.folder, world.made_of.manifest)
    fresh = [arm for arm in arms if like is None or arm not in like.arms]
    check_precisions(fresh, device)
    check_models(fresh, world, config.training_seed, device)
    check_summaries(fresh, world, config.training_seed)
    check_stores(fresh)
    profile = None
    if profiled and config.experiment.service_times == "profile":
        path = config.experiment.profile_path
        known = None if like is None or like.config.experiment.profile_path != path else like.profile
        profile = known or load(path)
        check_profile(profile, fresh)
    source = config.traffic.arrivals
    return Plan(config, arms, device, world, profile, None if source is None else read_arrivals(source))


def _same_log(one: WorldSource, other: WorldSource) -> bool:
    """Whether two worlds, which may differ in seed or days, are of one log."""
    logs = [(w.made_of.folder, w.made_of.sha256) for w in (one, other) if isinstance(w.made_of, LogSource)]
    return len(logs) == 2 and logs[0] == logs[1]
