"""An arm as the timing plane sees it: its servers, its batcher and its ladder.

A ladder lists what a request may be answered with, best first. Start reading at `ServingArm`;
`build_ladder` makes the usual five steps. Nothing here knows which arms exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from simulator.config.settings import Policy

PRIOR = "prior"
POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True)
class LadderStep:
    """One way to answer a request.

    Args:
        name: shown in results, such as "full", "1/2" or "prior".
        model: the profile's key of the model that scores; None answers with the prior order.
        history: newest behaviours read and scored, at most; 0 for the prior order.

    Raises:
        ValueError: a step with a model reads nothing, or one without a model reads something.
    """

    name: str
    model: str | None
    history: int

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("Found a ladder step without a name, expected one. Name it, such as 'full'.")
        if self.model is None and self.history != 0:
            raise ValueError(
                f"Step {self.name!r} has no model but a history of {self.history}, expected 0: "
                "the prior order reads nothing. Give it a model or history 0."
            )
        if self.model is not None and self.history < 1:
            raise ValueError(
                f"Step {self.name!r} scores with {self.model!r} on a history of {self.history}, "
                "expected at least 1. Raise the history or use the prior order."
            )


@dataclass(frozen=True)
class ServingArm:
    """An arm's store, ladder, servers and batcher.

    Args:
        name: the arm's name in results.
        store: the store's key in the service-time profile, such as "lastn/chunks".
        steps: the ladder, best first; the last one, and only that one, is the prior order.
        store_workers: requests read (and transported) at the same time.
        scorers: replicas, each scoring one batch at a time.
        max_batch: most requests in a batch.
        max_wait_s: longest a free scorer waits for a fuller batch; 0 never waits.
        policy: the rule by which it forms batches, shortens histories and gives up.

    Raises:
        ValueError: a setting is out of range or the ladder is malformed.
    """

    name: str
    store: str
    steps: tuple[LadderStep, ...]
    store_workers: int
    scorers: int
    max_batch: int
    max_wait_s: float = 0.0
    policy: Policy = "goodput"

    def __post_init__(self) -> None:
        for label in ("store_workers", "scorers", "max_batch"):
            value = getattr(self, label)
            if value < 1:
                raise ValueError(
                    f"Arm {self.name!r}: {label} is {value}, expected at least 1. Change the setting."
                )
        if not 0.0 <= self.max_wait_s < float("inf"):
            raise ValueError(
                f"Arm {self.name!r}: max_wait_s is {self.max_wait_s}, expected a finite number of seconds, "
                "0 or more. Set it to 0 for a scorer that never waits."
            )
        if self.policy not in POLICIES:
            raise ValueError(
                f"Arm {self.name!r}: there is no policy {self.policy!r}, expected one of "
                f"{', '.join(POLICIES)}. Change the setting."
            )
        _check_ladder(self.name, self.steps)

    @property
    def full(self) -> LadderStep:
        """The best step, which an unloaded arm with enough budget always takes."""
        return self.steps[0]


def _check_ladder(arm: str, steps: Sequence[LadderStep]) -> None:
    if len(steps) < 2 or steps[-1].model is not None or any(s.model is None for s in steps[:-1]):
        raise ValueError(
            f"Arm {arm!r}: found the ladder {[s.name for s in steps]}, expected at least one step with a "
            "model, then the prior order as the last and only step without. Build it with build_ladder."
        )
    if len({s.name for s in steps}) != len(steps):
        raise ValueError(
            f"Arm {arm!r}: found repeated step names in {[s.name for s in steps]}, expected each once. "
            "Rename them."
        )


def build_ladder(
    model: str, history: int, light_model: str | None = None, light_history: int = 50
) -> tuple[LadderStep, ...]:
    """The ladder full, 1/2, 1/4, light, prior, without the steps that would save nothing.

    A step with the same model as the one before stays only if its history is shorter. The light
    step stays if its model differs and it reads no more than the full step, or if it shortens
    the last step further. (Whether another model is cheaper is the profile's to say; first fit
    never takes a step that is dearer than one which already did not fit.)

    Args:
        model: the arm's model.
        history: behaviours of the full step.
        light_model: a cheaper model, or None for no light step.
        light_history: behaviours of the light step.

    Raises:
        ValueError: a history below 1, or no model.
    """
    if not model:
        raise ValueError("Found no model for the ladder, expected a model's name. Set the arm's model.")
    if history < 1:
        raise ValueError(f"Found a history of {history}, expected at least 1 behaviour. Raise the arm's.")
    if light_model is not None and light_history < 1:
        raise ValueError(
            f"Found a light history of {light_history}, expected at least 1. Raise it or drop light_model."
        )
    steps = [LadderStep("full", model, history)]
    for name, shorter in (("1/2", history // 2), ("1/4", history // 4)):
        if 1 <= shorter < steps[-1].history:
            steps.append(LadderStep(name, model, shorter))
    if light_model is not None:
        limit = history if light_model != model else steps[-1].history - 1
        if light_history <= limit:
            steps.append(LadderStep("light", light_model, light_history))
    return (*steps, LadderStep(PRIOR, None, 0))
