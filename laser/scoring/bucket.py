"""One snapshot in one shape: requests are written into its block, scored, and read back.

On a GPU the forward pass is captured once as a CUDA graph and replayed, the copies from and to the host
included: its small kernels are then one launch. There are two blocks on the host and a graph for each, so
that the host fills one while the device works on the other.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laser.models import ModelConfig
from laser.scoring.block import Filling, Layout
from laser.scoring.requests import Requests
from laser.scoring.shapes import Shape
from laser.scoring.snapshot import Snapshot

_WARM_UPS = 3  # before a capture, so that libraries have their handles and workspaces


class Bucket:
    """Attributes:
    shape: its shape.
    bytes: what it holds of the device's memory.
    """

    def __init__(self, snapshot: Snapshot, shape: Shape) -> None:
        """Build it.

        Raises:
            torch.OutOfMemoryError: the device is out of memory.
        """
        self.shape, self._snapshot = shape, snapshot
        self._layout = Layout(shape, snapshot.model.config)
        self._cuda = snapshot.device.type == "cuda"
        self._fillings = [Filling(self._layout, pinned=self._cuda) for _ in range(2 if self._cuda else 1)]
        logits = shape.requests, shape.candidates
        self._logits = [torch.empty(logits, pin_memory=self._cuda) for _ in self._fillings]
        self.bytes = self._layout.size
        if self._cuda:
            before = torch.cuda.memory_reserved(snapshot.device)
            with torch.cuda.device(snapshot.device):
                self._capture()
            self.bytes = max(torch.cuda.memory_reserved(snapshot.device) - before, self._layout.size)

    @property
    def config(self) -> ModelConfig:
        """The model's."""
        return self._snapshot.model.config

    @property
    def slots(self) -> int:
        """Batches that may be under way."""
        return len(self._fillings)

    def put(self, slot: int, requests: Requests) -> None:
        """Begin to score requests; what the slot had before must have been taken."""
        filling = self._fillings[slot]
        filling.fill(requests)
        if not self._cuda:
            with self._snapshot.computing():
                self._logits[slot] = self._snapshot.model(self._layout.aligned(filling.columns)).float()
            return
        with torch.cuda.device(self._snapshot.device):
            self._graphs[slot].replay()
            self._done[slot].record()

    def take(self, slot: int, count: int) -> NDArray[np.float32]:
        """(count, C) logits of what was put there, overwritten by the next `put`."""
        if self._cuda:
            self._done[slot].synchronize()
        logits: NDArray[np.float32] = self._logits[slot].numpy()
        return logits[:count]

    def _capture(self) -> None:
        device = self._snapshot.device
        self._done = [torch.cuda.Event() for _ in self._fillings]  # type: ignore[no-untyped-call]
        self._block = torch.zeros(self._layout.size, dtype=torch.uint8, device=device)
        self._graphs: list[torch.cuda.CUDAGraph] = []
        self._outs: list[Tensor] = []
        columns = self._layout.views(self._block)

        def step(slot: int) -> Tensor:
            self._block.copy_(self._fillings[slot].block, non_blocking=True)
            logits: Tensor = self._snapshot.model(self._layout.aligned(columns)).float()
            self._logits[slot].copy_(logits, non_blocking=True)
            return logits

        aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with self._snapshot.computing():
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UPS):
                    step(0)
            torch.cuda.current_stream().wait_stream(aside)
            # One after the other and each complete in itself, graphs may work in the same memory.
            pool = torch.cuda.graph_pool_handle()
            for slot in range(self.slots):
                graph = torch.cuda.CUDAGraph()
                # Of another thread's work nothing is refused meanwhile.
                with torch.cuda.graph(graph, pool, aside, capture_error_mode="thread_local"):
                    self._outs.append(step(slot))
                self._graphs.append(graph)
