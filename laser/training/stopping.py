"""Early stopping: watch a held-out loss, keep the best weights, stop when it no longer falls."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from laser.models import RankingModel


class Watch:
    """Attributes:
    best_loss: the lowest so far. since: checks after it. best: the weights then, None before the first check.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best_loss, self.since = math.inf, 0
        self.best: dict[str, Tensor] | None = None

    def saw(self, loss: float, model: RankingModel) -> None:
        """Take note of a check."""
        if loss < self.best_loss:
            self.best_loss, self.since = loss, 0
            self.best = {name: value.detach().clone() for name, value in model.state_dict().items()}
        else:
            self.since += 1

    @property
    def over(self) -> bool:
        """Whether patience ran out."""
        return self.since >= self.patience

    def restore(self, model: RankingModel) -> None:
        """Put the best weights back."""
        if self.best is not None:
            model.load_state_dict(self.best)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs."""
        return {"best_loss": self.best_loss, "since": self.since, "best": self.best}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from what `state_dict` gave."""
        self.best_loss, self.since = state["best_loss"], state["since"]
        kept = state["best"]
        self.best = None if kept is None else {name: value.to(device) for name, value in kept.items()}
