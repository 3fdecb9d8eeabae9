"""A model made for serving: a copy of its weights that nobody else holds, and what follows from them alone.

A model under training changes its weights in ways that no counter records (`p.data.copy_`, views of one
vector). Look-up tables and captured graphs must therefore not be built from those: they are built from a
snapshot, once, and other weights are another snapshot with another version.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from laser.attention.kernels import Dots, fused
from laser.errors import LaserError
from laser.models import RankingModel
from laser.models.history import BehaviourEmbedding, combined
from laser.models.plugins import plugin_code
from laser.out_of_memory import memory_told

#: Of matrix products: "float32", "tf32" (factors rounded to 10 bits; a GPU's), or by autocast.
PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
_switch = threading.RLock()  # see `_products`
_AUTOCAST = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_DOTS: dict[str, Dots] = {
    "float32": "tf32x3", "tf32": "tf32", "float16": "float16", "bfloat16": "bfloat16",
}  # fmt: skip


class ScoreError(LaserError):
    """A model that does not score, or that would score wrongly."""


@dataclass(frozen=True)
class Snapshot:
    """Attributes:
    model: in evaluation mode, on its device. Writing to its weights is an error.
    version: digest of configuration and weights; the same on every device, in every precision.
    precision: one of PRECISIONS.
    """

    model: RankingModel
    version: str
    precision: str

    @property
    def device(self) -> torch.device:
        """Where it scores."""
        return self.model.category.weight.device

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Without gradients, in its precision, by fused kernels where there is a GPU."""
        dtype = _AUTOCAST.get(self.precision)
        tf32 = self.precision == "tf32"
        with (
            _products("high" if tf32 else "highest") if self.device.type == "cuda" else nullcontext(),
            torch.inference_mode(),
            fused(_DOTS[self.precision]),
            # Without its cache of cast weights: a captured graph would hold on to them.
            torch.autocast(self.device.type, dtype, enabled=dtype is not None, cache_enabled=False),
        ):
            yield


@contextmanager
def _products(precision: str) -> Iterator[None]:
    """torch's float32 products on a GPU, in or without TensorFloat-32, whatever the process has set.

    torch has no switch of a call or a thread, only one of the process; a captured graph keeps what it was
    captured with. So whoever captures or scores holds a lock for as long as the switch is theirs: two
    snapshots in two threads never meet the other's. What others compute in that time is not protected.
    """
    with _switch:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


def freeze(
    model: RankingModel, device: torch.device | str | None = None, precision: str = "float32"
) -> Snapshot:
    """A snapshot of a model as it is now; the model may go on training.

    Args:
        device: where to score; by default where the model is.

    Raises:
        ValueError: the precision is none of PRECISIONS, or the CPU has none such.
        ScoreError: a weight is NaN or infinite. Not every broken weight breaks a score: a search that
            compares with NaN finds just anything, and a gate whose bias is infinite is open for all.
        DeviceMemoryError: the device is out of memory.
        PluginError: a model of the user's own holds what cannot be copied.
    """
    here = model.category.weight.device
    device = here if device is None else torch.device(device)
    known = [name for name in PRECISIONS if name != "tf32" or device.type == "cuda"]
    if precision not in known:
        raise ValueError(f"precision is {precision!r} on {device}, expected one of {known}.")
    for name, weights in model.state_dict().items():
        if weights.is_floating_point() and not bool(torch.isfinite(weights).all()):
            raise ScoreError(
                f"{name} of model {model.config.kind!r} holds NaN or infinity, expected numbers. "
                "Train it again, or load a checkpoint."
            )
    advice = "Free some of it, or use another device."
    with (
        memory_told(device, "copying the model there", advice),
        plugin_code(model.config.kind, "while being copied"),
        torch.inference_mode(),
    ):
        copied = copy.deepcopy(model, _left_out(model)).requires_grad_(False).eval()
        copied.category = combined(copied.category)
        for part in copied.modules():
            _move(part, device)
        for part in copied.modules():
            if isinstance(part, BehaviourEmbedding):
                part.keep(copied.category.weight)
        if device.type == "cuda":
            with fused(_DOTS[precision]):
                copied.multiply_out()
    return Snapshot(copied, version_of(model), precision)


def version_of(model: RankingModel) -> str:
    """16 hexadecimal digits of a digest of the configuration and all weights."""
    digest = blake2b(model.config.to_json().encode(), digest_size=8)
    for name, weights in model.state_dict().items():
        digest.update(f"{name} {tuple(weights.shape)} {weights.dtype}".encode())
        digest.update(weights.detach().contiguous().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _move(part: nn.Module, device: torch.device) -> None:
    """Weights and buffers on the device, as tensors that cannot be written to outside inference mode."""
    for name, weights in part._parameters.items():
        if weights is not None:
            part._parameters[name] = nn.Parameter(weights.detach().to(device), requires_grad=False)
    for name, buffer in part._buffers.items():
        if buffer is not None:
            part._buffers[name] = buffer.to(device)


def _left_out(model: RankingModel) -> dict[int, Any]:
    """For deepcopy, which refuses what a training step left behind: that without its history."""
    left = (value for part in model.modules() for kept in vars(part).values() for value in _tensors(kept))
    return {id(value): value.detach() for value in left if value.grad_fn is not None}


def _tensors(kept: Any) -> Iterator[Tensor]:
    if isinstance(kept, Tensor):
        yield kept
    elif isinstance(kept, tuple | list):
        for value in kept:
            yield from _tensors(value)
