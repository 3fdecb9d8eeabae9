"""ReLU that writes over its input only where no gradient is recorded."""

from __future__ import annotations

import torch
from torch import Tensor


def relu(x: Tensor) -> Tensor:
    """max(x, 0); `x` must not be used again.

    What a linear makes of more than two dimensions is a view, and the gradient of an operation in place on a
    view is copied back and forth: five passes over LASER's largest tensor, an eighth of its step.
    """
    return torch.relu(x) if torch.is_grad_enabled() else torch.relu_(x)
