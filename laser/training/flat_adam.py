"""Adam over all weights as one vector, its rates read from a table on the device by a step counter there.

The same formulas as `laser.training.optimisers` has from torch. There the host computes a rate for each step
and launches a kernel for each kind of work on each group; a captured step can do neither.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from laser.models import RankingModel
from laser.training.config import TrainConfig
from laser.training.optimisers import betas, one_cycle

_EPSILON = 1e-8


class FlatAdam:
    """Attributes:
    weights: the model's trained parameters; they become views of one vector.
    """

    def __init__(self, model: RankingModel, train: TrainConfig, steps: int) -> None:
        named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        self.weights = [weight for _, weight in named]
        self.clip, self.beta2 = train.clip, train.beta2
        self.flat = torch.cat([weight.detach().flatten() for weight in self.weights])
        shares = [train.table_rate if name.startswith(model.RECOGNISES) else 1.0 for name, _ in named]
        self.share = torch.cat(
            [torch.full_like(w, s).flatten() for w, s in zip(self.weights, shares, strict=True)]
        )
        self.mean, self.square = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.table = _table(train, steps).to(self.flat.device)
        parts = torch.split(self.flat, [weight.numel() for weight in self.weights])
        for weight, part in zip(self.weights, parts, strict=True):
            weight.data = part.view_as(weight)

    def step(self, gradients: tuple[Tensor, ...], done: Tensor) -> None:
        """Take one step.

        Args:
            gradients: of `weights`, in their order.
            done: (1,) int64 on the device, the steps taken before.
        """
        gradient = torch.cat([part.flatten() for part in gradients])
        if self.clip is not None:
            gradient = gradient * (self.clip / (gradient.norm() + 1e-6)).clamp(max=1.0)
        size, towards, root = self.table.index_select(0, done).view(3).unbind()
        self.mean.lerp_(gradient, towards)
        self.square.mul_(self.beta2).addcmul_(gradient, gradient, value=1.0 - self.beta2)
        self.flat.sub_(self.share * size * self.mean / (self.square.sqrt() * root + _EPSILON))

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs."""
        return {"mean": self.mean, "square": self.square}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.mean.copy_(state["mean"])
        self.square.copy_(state["square"])


def _table(train: TrainConfig, steps: int) -> Tensor:
    """(steps, 3): rate over the first moment's bias, 1 - beta1, 1 over the root of the second's bias."""
    # torch's own schedule, on a weight that nobody uses: it may move beta1 against the rate, too.
    adam = Adam([nn.Parameter(torch.zeros(()))], betas=betas(train))
    schedule = one_cycle(adam, [train.learning_rate], steps, train)
    rows = []
    for step in range(1, steps + 1):
        group = adam.param_groups[0]
        beta1 = group["betas"][0]
        root = (1.0 - train.beta2**step) ** -0.5
        rows.append((group["lr"] / (1.0 - beta1**step), 1.0 - beta1, root))
        adam.step()  # without a gradient it only lets the schedule know that there was a step
        schedule.step()
    return torch.tensor(rows, dtype=torch.float32).view(-1, 3)
