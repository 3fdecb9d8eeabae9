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

# How kernels multiply: "tf32" rounds the factors to 10 bits, "tf32x3" makes up for it with two more products;
# in half precision those made for serving read their operands so, and the others take "tf32".
Dots = Literal["tf32", "tf32x3", "float16", "bfloat16"]
_HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
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


def dots() -> str:
    """How a fused kernel multiplies float32 here, in triton's words."""
    chosen = _dots.get() or "tf32x3"
    return "tf32" if chosen in _HALVES else chosen


def operands() -> torch.dtype:
    """What a kernel made for serving multiplies here."""
    return _HALVES.get(_dots.get() or "", torch.float32)


def splits() -> bool:
    """Whether it splits float32 operands into two halves, see `products`."""
    return _dots.get() == "tf32x3"
