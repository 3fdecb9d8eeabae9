"""What would end an experiment an hour from now, found out before any work; `make_plan` asks all of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from laser.models import build_model
from simulator.arms.arm import Arm, needed_models
from simulator.arms.models import model_config
from simulator.serving.profile import ServiceProfile, load
from simulator.world.protocol import Sizes

_SMALLEST = Sizes(categories=1, ads=1, scenes=1, actions=1)  # enough to see that a model can be built


def load_profile(path: Path, arms: Iterable[Arm]) -> ServiceProfile:
    """The service-time profile, which must have measured every store and model of the arms.

    Raises:
        ProfileError: it is missing, damaged, or lacks one.
    """
    profile = load(path)
    for arm in arms:
        profile.store_grid(arm.serving.store)
        for step in arm.scored_steps:
            profile.score_grid(step.model or "")
    return profile


def check_models(arms: Iterable[Arm], seed: int) -> None:
    """Find out whether every model can be built with its options.

    Raises:
        ValueError: one cannot.
    """
    for spec in needed_models(arms):
        build_model(model_config(_SMALLEST, spec), seed)


def check_stores(arms: Iterable[Arm]) -> None:
    """Find out whether every store opens with its options.

    Raises:
        StoreError: one does not.
    """
    for arm in arms:
        with tempfile.TemporaryDirectory() as folder, arm.open_store(Path(folder)):
            pass
