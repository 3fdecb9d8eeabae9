"""What would end an experiment an hour from now, found out before any work; `make_plan` asks all of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from laser.errors import ModelError
from laser.models import build_model
from laser.models.plugins import is_plugin
from laser.scoring.runtime import Scorer
from laser.scoring.trial import small_batch, try_out
from simulator.arms.arm import SUMMARY_PARTS, Arm, needed_models
from simulator.arms.models import model_config
from simulator.errors import SimulatorError
from simulator.inputs.worlds import WorldSource
from simulator.serving.profile import ServiceProfile
from simulator.traffic.behaviours import ACTIONS, SCENES
from simulator.world.protocol import Sizes

# Enough to see that a model can be built, with options that name scenes, and that a plug-in scores.
_SMALL = Sizes(categories=8, ads=8, scenes=SCENES, actions=ACTIONS)
_DEPARTMENTS = (0, 0, 0, 0, 1, 1, 1, 1)


def check_profile(profile: ServiceProfile, arms: Iterable[Arm]) -> None:
    """Find out whether every store and model of the arms was measured.

    Raises:
        ProfileError: one was not.
    """
    for arm in arms:
        profile.store_grid(arm.serving.store)
        for step in arm.scored_steps:
            profile.score_grid(step.model or "")
            if arm.keeps_summary(step):
                for part in SUMMARY_PARTS:
                    profile.score_grid(f"{step.model}{part}")


def check_models(arms: Iterable[Arm], world: WorldSource, seed: int, device: str) -> None:
    """Find out whether every model can be built with its options, and whether a user's own scores.

    Raises:
        ModelError: one cannot be built, or asks for departments that the world does not know.
        PluginError: one of the user's own fails, or gives other scores the second time.
    """
    for spec in needed_models(arms):
        model = build_model(model_config(_small(world), spec), seed)
        if is_plugin(spec.kind):
            try_out(Scorer(model, device), small_batch(model.config, spec.history))


def check_precisions(arms: Iterable[Arm], device: str) -> None:
    """Find out whether the device has every arm's precision.

    Raises:
        SimulatorError: TensorFloat-32 on a CPU, which has none.
    """
    for arm in arms:
        if arm.settings.precision == "tf32" and not device.startswith("cuda"):
            raise SimulatorError(
                f'arms.{arm.name}.precision is "tf32", which {device} does not have, expected "fp32", "fp16" '
                'or "bf16" there. Choose one, or a GPU (experiment.device).'
            )


def check_summaries(arms: Iterable[Arm], world: WorldSource, seed: int) -> None:
    """Find out whether the model of every arm that keeps summaries has one to keep.

    Raises:
        ModelError: it has none, or reads the newest behaviours beside it.
    """
    for arm in arms:
        if arm.settings.summary is None:
            continue
        model = build_model(model_config(_small(world), arm.main), seed)
        if not model.summary_bytes or model.short_length:
            why = "reads the newest behaviours beside it" if model.summary_bytes else "makes none of a user"
            raise ModelError(
                f"arm {arm.name!r} keeps a summary of each user, but its model {arm.main.kind!r} {why}, "
                'expected "vista", or "vql" with form "cached", and short = 0. Leave [arms.NAME.summary] out.'
            )


def _small(world: WorldSource) -> Sizes:
    return _SMALL._replace(departments=_DEPARTMENTS) if world.knows_departments else _SMALL


def check_stores(arms: Iterable[Arm]) -> None:
    """Find out whether every store opens with its options.

    Raises:
        StoreError: one does not.
    """
    for arm in arms:
        with tempfile.TemporaryDirectory() as folder, arm.open_store(Path(folder)):
            pass
