"""Fast steps: fixed shapes, everything on the device, and on a GPU one CUDA graph a step.

A step of these models is some hundred small kernels. Launched one by one they cost more than they compute,
and so does a host that chooses rows, computes rates and waits for a loss. Here the order of the requests,
their history lengths and the rates lie on the device as tables; a counter there says which step it is; and a
step is captured once for each width of history and then replayed.

The plain steps of `laser.training.loop` are the twin: the same requests in the same order, the same formulas.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laser.attention.kernels import fused
from laser.models import RankingModel
from laser.sources import DeviceSource
from laser.training.config import TrainConfig
from laser.training.flat_adam import FlatAdam
from laser.training.loss import summed_loss, weights_of
from laser.training.order import batches

# Before a capture, so that libraries have their handles and workspaces.
_WARM_UPS = 2


class FastSteps:
    """All steps of one training.

    Args:
        rows: the requests to learn from.
        steps: of the whole training.
    """

    def __init__(
        self,
        model: RankingModel,
        source: DeviceSource,
        train: TrainConfig,
        rows: NDArray[np.int64],
        seed: int,
        steps: int,
    ) -> None:
        self.model, self.source, self.train = model, source, train
        self.optimisers = FlatAdam(model, train, steps)
        device = source.device
        order = np.full((steps, train.batch), -1)
        lengths = np.empty(steps, np.int64)
        for step, (places, length) in enumerate(batches(train, len(rows), seed)):
            order[step, : len(places)] = rows[places]
            lengths[step] = length
        self.order, self.lengths = torch.from_numpy(order).to(device), torch.from_numpy(lengths).to(device)
        self.widths = [_width(int(length), train.history) for length in lengths]
        self.done = torch.zeros(1, dtype=torch.int64, device=device)
        self.loss = torch.zeros((), device=device)
        self._next = 0
        self._replays: dict[int, Callable[[], None]] = {}
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        # One stream for warm-ups and captures: models may keep a tensor from one pass to the next.
        self._aside = (
            torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        )

    def take(self, step: int) -> Tensor:
        """Take step number `step`, from 0; returns the batch's mean loss, overwritten by the next step."""
        if step != self._next:  # an earlier call took the steps before
            self.done.fill_(step)
        self._next = step + 1
        width = self.widths[step]
        if width not in self._replays:
            self._replays[width] = self._captured(width)
        self._replays[width]()
        return self.loss

    def _step(self, width: int) -> None:
        # index_select: an index by a tensor without dimensions makes the host wait for it.
        rows = self.order.index_select(0, self.done).view(-1)
        length = self.lengths.index_select(0, self.done)
        batch, clicks = self.source.aligned(rows, length, width)
        by_request = self.train.loss == "requests"
        bfloat = self.train.precision == "bfloat16"
        with fused():
            with torch.autocast(self.source.device.type, torch.bfloat16, enabled=bfloat, cache_enabled=False):
                summed = summed_loss(self.model, batch, clicks, by_request)
            mean = summed / weights_of(batch, by_request).sum().clamp(min=1)
            gradients = torch.autograd.grad(mean, self.optimisers.weights, materialize_grads=True)
        with torch.no_grad():
            self.optimisers.step(gradients, self.done)
            self.loss.copy_(mean)
            self.done += 1

    def _captured(self, width: int) -> Callable[[], None]:
        """The step for one width, ready to be replayed; nothing of the training's state has changed."""
        if self._aside is None:
            return lambda: self._step(width)
        state = (self.optimisers.flat, self.optimisers.mean, self.optimisers.square, self.done)
        kept = [tensor.clone() for tensor in state]
        aside = self._aside
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self.done.copy_(kept[3])  # the warm-ups must not run off the end of the tables
                self._step(width)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=aside):
            self._step(width)
        for tensor, before in zip(state, kept, strict=True):
            tensor.copy_(before)
        return graph.replay


def _width(length: int, history: int) -> int:
    """The places that a history length takes: the full history or a half, a quarter ... of it, so that few
    steps need capturing whatever lengths are drawn."""
    width = history
    while width > 1 and -(-width // 2) >= length:
        width = -(-width // 2)
    return width if length else 0
