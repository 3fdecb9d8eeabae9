"""A cell: one combination of an experiment's settings, trained and sized, so that its arms can be served.

A run is one cell; a sweep has many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.arms.arm import ModelSpec
from simulator.arms.clock import Clock
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan
from simulator.serving.profile import ServiceProfile


@dataclass(frozen=True)
class Cell:
    """What serving an experiment needs.

    Attributes:
        plan: the experiment.
        trained: its models.
        profile: its service times, or in live mode what this machine did when the run began.
        clock: its timing plane, the budget among it.
    """

    plan: Plan
    trained: Mapping[ModelSpec, TrainedModel]
    profile: ServiceProfile
    clock: Clock
