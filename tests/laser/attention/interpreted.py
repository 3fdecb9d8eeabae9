"""Where kernels run in tests: on a GPU, or on a CPU by triton's interpreter, where triton is installed.

TRITON_INTERPRET must be set before triton is first imported; with numpy 2.4 triton 3.9 is the first whose
interpreter works.
"""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch

_TRITON = importlib.util.find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and _TRITON
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
with_kernels = pytest.mark.skipif(
    DEVICE == "cpu" and not INTERPRETED, reason="needs a GPU, or triton and TRITON_INTERPRET=1"
)
