"""Training by several processes: each takes its share of every batch, gradients are added up.

`torchrun --nproc-per-node N script.py` sets the environment that `join` reads; a script that calls `train`
needs nothing else. The loss is divided by what the whole batch weighs, so that the sum over processes is the
loss of one process, and so is every step, up to the order in which numbers are added.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from laser.scoring.runtime import resolve_device


@dataclass(frozen=True)
class Group:
    """The processes that train together: this one's `rank` among `size`."""

    rank: int = 0
    size: int = 1

    def part(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's share of a batch's rows; may be empty."""
        return rows[self.rank :: self.size]

    def add_gradients(self, weights: list[nn.Parameter]) -> None:
        """Replace every gradient by the sum over the processes."""
        if self.size == 1:
            return
        # A process without rows for a weight has no gradient; all must add the same tensors.
        parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        flat = torch.cat([part.flatten() for part in parts])
        used = torch.tensor([w.grad is not None for w in weights], dtype=flat.dtype, device=flat.device)
        distributed.all_reduce(flat)
        distributed.all_reduce(used)
        summed = torch.split(flat, [weight.numel() for weight in weights])
        for weight, total, count in zip(weights, summed, used.tolist(), strict=True):
            weight.grad = total.view_as(weight) if count else None

    def sum(self, value: Tensor) -> Tensor:
        """A number summed over the processes."""
        if self.size > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value


def rank() -> int:
    """This process's number among those that torchrun started; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def join(device: str) -> tuple[Group, torch.device]:
    """The group of this process and the device it trains on: on GPUs one for each process of a machine.

    Raises:
        DeviceError: the device is absent.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Group(), resolve_device(device)
    own = resolve_device(device)
    if own.type == "cuda" and device in ("auto", "cuda"):
        own = resolve_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)
    return Group(rank(), size), own
