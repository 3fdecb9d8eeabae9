"""An arm: made once from the experiment file, and passed whole. Start at `arms_of`.

Without torch, so that a file can be checked in milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from seqvault.store import HistoryStore, open_store
from simulator.config.settings import ArmSettings, ExperimentConfig, Training
from simulator.serving.arm import LadderStep, ServingArm, build_ladder

# A compaction in a thread of its own would share the processor with whichever reads it happened to meet;
# without it the append after which it is due does it, at the same request in every run.
_STORE_OPTIONS: dict[str, dict[str, object]] = {"seqvault": {"background": False}}

# Behind a model's name in a profile: scoring from a kept summary, and making one.
SUMMARY_PARTS = (";read", ";build")


@dataclass(frozen=True)
class ModelSpec:
    """A model to train, or a checkpoint to load; equal specs are the same model.

    Attributes:
        kind, width, options: see `laser.models.ModelConfig`.
        history: behaviours it is trained on, at most: those of the full step, or more.
        training: the arm's training table as sorted (name, value) pairs.
        checkpoint: path of a trained model, or None.
    """

    kind: str
    width: int
    history: int
    options: str
    training: tuple[tuple[str, Any], ...]
    checkpoint: str | None = None

    @property
    def key(self) -> str:
        """A short name, unique among specs; names the checkpoint's file."""
        text = json.dumps([self.kind, self.width, self.history, self.options, self.training, self.checkpoint])
        digest = blake2b(text.encode(), digest_size=4).hexdigest()
        return f"{self.kind.replace(':', '.')}-{self.history}-{digest}"

    @property
    def profile_key(self) -> str:
        """What a service-time profile calls a model of this geometry; weights do not change its cost, and
        neither do departments, which a snapshot adds up once."""
        options = json.loads(self.options)
        options.pop("departments", None)
        suffix = "".join(f",{name}={options[name]}" for name in sorted(options))
        return f"{self.kind}/{self.width}{suffix}"


@dataclass(frozen=True)
class Arm:
    """One arm of an experiment.

    Attributes:
        name: in the file and in every result.
        role: what it is compared as.
        settings: its table of the file.
        main: its model.
        light: its ladder's light model; None where it has none.
        serving: the timing plane's view of it: store key, ladder, servers, batcher.
    """

    name: str
    role: Literal["control", "treatment"]
    settings: ArmSettings
    main: ModelSpec
    light: ModelSpec | None
    serving: ServingArm

    @property
    def ladder(self) -> tuple[LadderStep, ...]:
        """What a request may be answered with, best first; the last step is the prior order."""
        return self.serving.steps

    @property
    def scored_steps(self) -> tuple[LadderStep, ...]:
        """The steps of the ladder that a model answers: all but the prior order."""
        return self.ladder[:-1]

    def model_of(self, step: LadderStep) -> ModelSpec:
        """The model that answers a scored step."""
        # A light step of the same geometry is the arm's own model on a shorter history.
        own = _key(self.main, self.settings.precision)
        return self.light if self.light is not None and step.model != own else self.main

    def keeps_summary(self, step: LadderStep) -> bool:
        """Whether a scored step reads a summary that the arm keeps of the user, and no history."""
        return self.settings.summary is not None and self.model_of(step) is self.main

    @property
    def store_options(self) -> dict[str, Any]:
        """What the arm's store is opened with."""
        return {**_STORE_OPTIONS.get(self.settings.store, {}), **self.settings.store_options}

    def open_store(self, folder: Path) -> HistoryStore:
        """The arm's store in `folder`, with its options.

        Raises:
            StoreError: it cannot be opened.
        """
        return open_store(self.settings.store, folder, **self.store_options)


def arms_of(config: ExperimentConfig) -> tuple[Arm, ...]:
    """The experiment's arms, control first, then the treatments in the file's order."""
    return tuple(_arm(config, name) for name in config.arm_names)


def needed_models(arms: Iterable[Arm]) -> dict[ModelSpec, tuple[int, ...]]:
    """Every model of the arms once, with the history lengths their ladders ask it for."""
    needed: dict[ModelSpec, set[int]] = {}
    for arm in arms:
        for step in arm.scored_steps:
            needed.setdefault(arm.model_of(step), set()).add(step.history)
    return {spec: tuple(sorted(lengths)) for spec, lengths in needed.items()}


def _arm(config: ExperimentConfig, name: str) -> Arm:
    settings = config.arms[name]
    main = ModelSpec(
        settings.model,
        settings.width,
        settings.training.history or settings.history,
        json.dumps(settings.model_options, sort_keys=True),
        _training(settings.training),
        settings.checkpoint,
    )
    light = None
    if settings.light_model != "none":
        # An ordinary model: trained as an arm of its own would be by default.
        light = ModelSpec(
            settings.light_model, settings.width, settings.light_history, "{}", _training(Training())
        )
    own = _key(main, settings.precision)
    steps = build_ladder(
        own, settings.history, _key(light, settings.precision) if light else None, settings.light_history
    )
    if settings.summary is not None:  # where no history is read, a shorter one saves nothing
        steps = (steps[0], *(step for step in steps[1:] if step.model != own))
    serving = ServingArm(
        name=name,
        store=settings.store_key,
        steps=steps,
        store_workers=settings.store_workers,
        scorers=settings.scorers,
        max_batch=settings.max_batch,
        max_wait_s=settings.max_wait_ms / 1000.0,
        policy=settings.policy,
    )
    role: Literal["control", "treatment"] = "control" if name == config.experiment.control else "treatment"
    return Arm(name, role, settings, main, light, serving)


def _key(spec: ModelSpec, precision: str) -> str:
    """A model's key on the ladder and in a profile: of one geometry, another precision has another cost."""
    return spec.profile_key if precision == "fp32" else f"{spec.profile_key}@{precision}"


def _training(table: Training) -> tuple[tuple[str, Any], ...]:
    # The history is the spec's own.
    return tuple(sorted(table.model_dump(exclude={"history"}).items()))
