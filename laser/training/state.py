"""A training's state as bytes, so that it can go on after an interruption with the same bits.

Weights, the optimisers' moments, the schedule's position and torch's generators are saved. The order of the
requests and the history lengths are not: they follow from the seed, and are drawn again up to the step.
"""

from __future__ import annotations

import io
from typing import Any, Protocol

import torch

from laser.models import RankingModel
from laser.training.stopping import Watch


class Kept(Protocol):
    """What has a state of its own: an optimiser, or several."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs, as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


class Keeper(Protocol):
    """Where a training keeps its state; it asks after every step, and saves after the last in any case."""

    def load(self) -> bytes | None:
        """The state to go on from; None to begin."""

    def due(self) -> bool:
        """Whether to save now."""

    def save(self, state: bytes) -> None:
        """Keep it; may raise, to end the training here."""


def pack(done: int, model: RankingModel, optimisers: Kept, watch: Watch, device: torch.device) -> bytes:
    """The state after `done` steps."""
    file = io.BytesIO()
    state = {
        "done": done,
        "model": model.state_dict(),
        "optimisers": optimisers.state_dict(),
        "watch": watch.state_dict(),
        "generator": torch.get_rng_state(),
        "device_generator": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }
    torch.save(state, file)
    return file.getvalue()


def restore(state: bytes, model: RankingModel, optimisers: Kept, watch: Watch, device: torch.device) -> int:
    """Put a state of `pack` back and return the steps done.

    Args:
        model, optimisers, watch: as at the training's beginning, on `device`.
    """
    # weights_only: the bytes come from a file, and must not run code.
    found = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
    model.load_state_dict(found["model"])
    optimisers.load_state_dict(found["optimisers"])
    watch.load_state_dict(found["watch"], device)
    torch.set_rng_state(found["generator"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(found["device_generator"], device)
    return int(found["done"])
