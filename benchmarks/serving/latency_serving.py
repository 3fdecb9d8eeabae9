"""Serving one request from a summary that is kept of its user: eagerly, and by a captured CUDA graph.

Each is a callable from a request on the host to its logits on the host, so that all are timed alike.
"""

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from laser.aligned import AlignedBatch
from laser.batch import RankingBatch
from laser.models import RankingModel
from laser.models.vista import Vista
from laser.models.vql import Vql

Columns = dict[str, Tensor]
Step = Callable[[Columns], Tensor]
_SUMMARY = "summary"
_ALIGNMENT = 16  # bytes: columns of any dtype begin at a multiple of it
_WARM_UPS = 3  # before a capture, so that libraries have their handles and workspaces


def columns_of(batch: RankingBatch) -> Columns:
    """The tensors of one request whose history is full, as an `AlignedBatch` has them."""
    tensors = {
        f.name: getattr(batch, f.name) for f in fields(batch) if f.name not in ("longest", "even", "full")
    }
    return {**tensors, "real": torch.ones(batch.requests, batch.longest, dtype=torch.bool)}


def _aligned(columns: Columns) -> AlignedBatch:
    # Neither `even` nor `full`: the same graph then serves shorter histories and fewer candidates.
    return AlignedBatch(**columns, longest=columns["real"].shape[1], even=False, full=False)


def kept(model: RankingModel, batch: RankingBatch) -> Columns:
    """What a server sends where it keeps the user's summary: that, the candidates, and the behaviours that
    the short sequence beside the model reads.

    Raises:
        TypeError: the model keeps no summary.
    """
    if not isinstance(model, Vista | Vql):
        raise TypeError(f"{type(model).__name__} keeps no summary of a user, expected Vista or Vql.")
    with torch.inference_mode():
        made = model.summarise(batch.to(model.category.weight.device))
    parts = (made,) if isinstance(made, Tensor) else made
    columns = columns_of(batch.newest(model.short_length))
    return columns | {f"{_SUMMARY} {i}": part.cpu() for i, part in enumerate(parts)}


def from_summary(model: RankingModel) -> Step:
    """Score from what `kept` sends: `RankingModel.forward` with the summary made before."""
    assert isinstance(model, Vista | Vql)

    def step(columns: Columns) -> Tensor:
        parts = tuple(part for name, part in columns.items() if name.startswith(_SUMMARY))
        batch = _aligned({name: part for name, part in columns.items() if not name.startswith(_SUMMARY)})
        target = model.category(batch.ad_category)
        if isinstance(model, Vql):
            read = model.read((parts[0], parts[1], parts[2]), target)
        else:
            read = model.read(parts[0], target)
        if model.beside is not None:
            short = model.beside(batch, model.category.weight, target)
            read = torch.cat([read, short], dim=2)
        logits: Tensor = model.head(batch, read)
        return logits

    return step


def at_once(step: Step, device: torch.device) -> Step:
    """Eager serving: every column is copied on its own, the step's kernels are launched one by one."""

    def serve(columns: Columns) -> Tensor:
        with torch.inference_mode():
            return step({name: tensor.to(device) for name, tensor in columns.items()}).cpu()

    return serve


class Staged:
    """Named tensors in one block of bytes, on the host and on the device: one copy moves them all."""

    def __init__(self, like: Columns, device: torch.device) -> None:
        starts, total = {}, 0
        for name, tensor in like.items():
            starts[name] = total
            total += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
        # Pinned: a copy from other memory makes the host wait for each of its parts.
        self._host = torch.zeros(total, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._block = torch.zeros(total, dtype=torch.uint8, device=device)

        def views(block: Tensor) -> Columns:
            return {
                name: block[starts[name] : starts[name] + t.nbytes].view(t.dtype).view(t.shape)
                for name, t in like.items()
            }

        self._filled, self.columns = views(self._host), views(self._block)

    def send(self, values: Columns) -> None:
        """Overwrite what `columns` hold; the device's part is done in its stream."""
        for name, tensor in values.items():
            self._filled[name].copy_(tensor)
        self._block.copy_(self._host, non_blocking=True)


class Served:
    """Fresh columns in, logits out, by a step that reads tensors of fixed addresses.

    On a GPU the step is captured once and replayed; elsewhere it is run, which shows that it is right.

    Args:
        like: columns of a request; later ones have the same shapes.
    """

    def __init__(self, step: Step, like: Columns, device: torch.device) -> None:
        self._staged = Staged(like, device)
        self._step, self._device = step, device
        self._staged.send(like)
        self._graph: torch.cuda.CUDAGraph | None = None
        with torch.inference_mode():
            self._out = step(self._staged.columns)
            if device.type == "cuda":
                self._capture()
        self._logits = torch.empty(self._out.shape, pin_memory=device.type == "cuda")

    def _capture(self) -> None:
        aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self._step(self._staged.columns)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=aside):
            self._out = self._step(self._staged.columns)

    def __call__(self, columns: Columns) -> Tensor:
        """(1, C) logits on the host; the next call overwrites them."""
        # What was made in inference mode, as a snapshot's maker has it, can be written to only in it.
        with torch.inference_mode():
            self._staged.send(columns)
            if self._graph is None:
                self._logits.copy_(self._step(self._staged.columns))
                return self._logits
            self._graph.replay()
            self._logits.copy_(self._out, non_blocking=True)
            torch.cuda.current_stream().synchronize()
        return self._logits
