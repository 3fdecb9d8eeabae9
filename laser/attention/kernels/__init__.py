"""Fused kernels for a GPU, and the switch that puts them to use.

Start at `silu_attention.py`. Each kernel has a plain twin in torch, which is what runs everywhere else: on a
CPU, and in a training that is not `fast`. The kernels' modules need triton, which comes with torch for GPUs;
import them only where `fusing` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
from torch import Tensor

# How kernels multiply: "tf32" rounds the factors to 10 bits, "tf32x3" makes up for it with two more products.
Dots = Literal["tf32", "tf32x3"]
# Of a thread, and not of the process: one may serve in float32 while another trains.
_dots: ContextVar[Dots | None] = ContextVar("dots", default=None)


@contextmanager
def fused(dots: Dots = "tf32") -> Iterator[None]:
    """Use fused kernels inside; with "tf32" torch's own products are in TensorFloat-32 too.

    torch has one switch for that in a process: it is on only inside.
    """
    before, precision = _dots.set(dots), torch.get_float32_matmul_precision()
    if dots == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        _dots.reset(before)
        torch.set_float32_matmul_precision(precision)


def fusing(x: Tensor) -> bool:
    """Whether the work on x goes to a fused kernel."""
    return _dots.get() is not None and x.is_cuda


def dots() -> Dots:
    """How a fused kernel multiplies here."""
    return _dots.get() or "tf32x3"
