"""Where kernels run in tests: on a GPU, or on a CPU by triton's interpreter, where triton is installed.

With numpy 2.4 triton 3.9 is the first whose interpreter works. It is asked for before a kernel is imported.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version

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
