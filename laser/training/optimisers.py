"""Optimisers and their schedules, behind one object that steps, saves and restores them together."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Adagrad, Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from laser.models import RankingModel
from laser.training.config import TrainConfig


def _own(method: Any) -> Any:
    """What torch has wrapped so that its compiler leaves it alone."""
    return getattr(method, "__wrapped__", method)


class _Uncompiled:
    """Torch's optimisers call its compiler to be left alone by it. We have none, and its import takes 1.1 CPU
    seconds in every process that trains."""

    add_param_group = _own(Optimizer.add_param_group)
    zero_grad = _own(Optimizer.zero_grad)
    state_dict = _own(Optimizer.state_dict)
    load_state_dict = _own(Optimizer.load_state_dict)


class _Adam(_Uncompiled, Adam):
    step = torch.no_grad()(_own(Adam.step))


class _Adagrad(_Uncompiled, Adagrad):
    step = torch.no_grad()(_own(Adagrad.step))


class Optimisers:
    """Adam with a one-cycle rate, and where asked for Adagrad beside it for the embedding tables.

    Parameters that recognise behaviours (`RankingModel.RECOGNISES`) learn at `table_rate` of either's rate.
    """

    def __init__(self, model: RankingModel, train: TrainConfig, steps: int) -> None:
        self.clip = train.clip
        self.weights = [weights for weights in model.parameters() if weights.requires_grad]
        tables = _tables(model) if train.optimiser == "adagrad+adam" else set()
        share = (1.0, train.table_rate)
        dense = _groups(model, tables, inside=False)
        # Fused: one kernel for all weights. Tensor by tensor a step of LASER's 48 took four times as long.
        self.optimisers: list[Optimizer] = [_Adam(dense, betas=betas(train), fused=True)]
        rates = [train.learning_rate * part for part in share]
        self.schedules: list[LRScheduler] = [one_cycle(self.optimisers[0], rates, steps, train)]
        if tables:
            sparse = _groups(model, tables, inside=True)
            for group, part in zip(sparse, share, strict=True):
                group["lr"] = train.adagrad_rate * part
            self.optimisers.append(_Adagrad(sparse))
        # float16 gradients underflow unless the loss is scaled; elsewhere the scaler does nothing.
        device = self.weights[0].device.type
        self.scaler = torch.amp.GradScaler(device, enabled=train.precision == "float16")

    def zero_grad(self) -> None:
        """Forget the last step's gradients."""
        for weights in self.weights:  # torch's own takes a hundredth of a step of DIN
            weights.grad = None

    def step(self) -> None:
        """Take one step, clipped, and move the schedules on."""
        for optimiser in self.optimisers:
            self.scaler.unscale_(optimiser)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self.clip)
        for optimiser in self.optimisers:
            self.scaler.step(optimiser)
        self.scaler.update()
        for schedule in self.schedules:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs, as tensors and plain values."""
        return {
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        for schedule, kept in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(kept)
        self.scaler.load_state_dict(state["scaler"])


def betas(train: TrainConfig) -> tuple[float, float]:
    """Adam's; a schedule that moves the first replaces it."""
    return 0.9 if train.steady_beta1 is None else train.steady_beta1, train.beta2


def one_cycle(optimiser: Optimizer, rates: list[float], steps: int, train: TrainConfig) -> OneCycleLR:
    """The schedule of a training of so many steps, one peak rate for each group."""
    # It wants at least one step on either side of its peak.
    moved = train.steady_beta1 is None
    return OneCycleLR(optimiser, rates, total_steps=max(steps, 4), cycle_momentum=moved)


def _tables(model: RankingModel) -> set[str]:
    tables = ((name, part) for name, part in model.named_modules() if isinstance(part, nn.Embedding))
    return {f"{name}.{weights}" for name, part in tables for weights, _ in part.named_parameters()}


def _groups(model: RankingModel, tables: set[str], inside: bool) -> list[dict[str, Any]]:
    """The parameters among the tables, or the others: those at the full rate, then those that recognise."""
    named = [(name, weights) for name, weights in model.named_parameters() if (name in tables) == inside]
    full = [weights for name, weights in named if not name.startswith(model.RECOGNISES)]
    slow = [weights for name, weights in named if name.startswith(model.RECOGNISES)]
    return [{"params": full}, {"params": slow}]
