"""Fused kernels for training on a GPU, and the switch that puts them to use.

Each has a plain twin in torch, which is what runs everywhere else: on a CPU, while scoring, and in a training
that is not `fast`. The kernels' modules need triton, which comes with torch for GPUs; import them only where
`fusing` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_on = False


@contextmanager
def fused() -> Iterator[None]:
    """Use fused kernels, and TensorFloat-32 in matrix products, inside."""
    global _on
    before, precision = _on, torch.get_float32_matmul_precision()
    _on = True
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        _on = before
        torch.set_float32_matmul_precision(precision)


def fusing(x: Tensor) -> bool:
    """Whether the work on x goes to a fused kernel."""
    return _on and x.is_cuda
