"""Keeping scores out of a softmax or a maximum."""

from __future__ import annotations

import torch
from torch import Tensor

# Finite stand-ins for -inf: where everything is hidden, -inf would give NaN.
_LOWEST, _LOWEST_HALF = -1e30, -6e4


def hide(scores: Tensor, hidden: Tensor) -> Tensor:
    """Scores so low where hidden that nothing else notices them.

    Args:
        hidden: bool, broadcastable to scores.
    """
    return scores.masked_fill(hidden, _LOWEST_HALF if scores.dtype is torch.float16 else _LOWEST)
