"""Where kernels run in tests: on a GPU, or on a CPU by triton's interpreter, where triton is installed.

With numpy 2.4 triton 3.9 is the first whose interpreter works. It is asked for before a kernel is imported.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pytest
import torch


def _interprets() -> bool:
    try:
        major, minor = version("triton").split(".")[:2]
    except PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= (3, 9)


if not torch.cuda.is_available() and _interprets():
    os.environ.setdefault("TRITON_INTERPRET", "1")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and _interprets()
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
with_kernels = pytest.mark.skipif(
    DEVICE == "cpu" and not INTERPRETED, reason="needs a GPU, or triton 3.9 and TRITON_INTERPRET=1"
)


class Bounds:
    """Where kernels may read and write: the places of the tensors that each is given, and none between."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        from triton.runtime import interpreter

        self._ranges: list[tuple[int, int]] = []
        self.checked = 0
        executor, builder = interpreter.GridExecutor, interpreter.InterpreterBuilder
        given, load, store = executor._init_args_hst, builder.create_masked_load, builder.create_masked_store

        def to_host(this: Any, args: Any, kwargs: Any) -> Any:
            found = given(this, args, kwargs)
            self._ranges = [_places(x) for x in (*found[0], *found[1].values()) if hasattr(x, "data_ptr")]
            return found

        def loaded(this: Any, ptrs: Any, mask: Any, *rest: Any) -> Any:
            self._check(ptrs, mask)
            return load(this, ptrs, mask, *rest)

        def stored(this: Any, ptrs: Any, value: Any, mask: Any, *rest: Any) -> Any:
            self._check(ptrs, mask)
            return store(this, ptrs, value, mask, *rest)

        patch.setattr(executor, "_init_args_hst", to_host)
        patch.setattr(builder, "create_masked_load", loaded)
        patch.setattr(builder, "create_masked_store", stored)

    def _check(self, ptrs: Any, mask: Any) -> None:
        at = np.asarray(ptrs.data)[np.asarray(mask.data, bool)].astype(np.int64)
        size = ptrs.get_element_ty().primitive_bitwidth // 8
        inside = np.zeros(at.shape, bool)
        for first, end in self._ranges:
            inside |= (at >= first) & (at + size <= end)
        assert inside.all(), f"{int((~inside).sum())} of {at.size} places lie outside every tensor given"
        self.checked += at.size


def _places(tensor: torch.Tensor) -> tuple[int, int]:
    """First byte of a tensor's own elements and the one after the last."""
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    first = tensor.data_ptr()
    return first, first + (last + 1) * tensor.element_size() if tensor.numel() else first
