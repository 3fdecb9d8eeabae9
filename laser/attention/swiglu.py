"""SwiGLU feed-forward: (x W_u * swish(x W_v)) W_o.

Source: as used in STCA, arXiv:2511.06077; Shazeer, arXiv:2002.05202.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SwiGlu(nn.Module):
    """(..., E) to (..., E'), inner width ratio x E.

    Args:
        width: E. out: E', by default E. ratio: inner width in units of E.
        constant: an input dimension that begins at 1 for every row, or None. With it the net starts as about
            the identity: one gate reads the constant, so that what is recognised before the net still is
            behind it.
    """

    def __init__(self, width: int, ratio: int, out: int | None = None, constant: int | None = None) -> None:
        super().__init__()
        inner, out = ratio * width, out or width
        self.value = nn.Linear(width, inner, bias=False)
        self.gate = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, out, bias=False)
        if constant is not None:
            self._start_as_identity(width, out, constant)

    def _start_as_identity(self, width: int, out: int, constant: int) -> None:
        open_at = 2.0
        swish = open_at * float(torch.sigmoid(torch.tensor(open_at)))
        with torch.no_grad():
            self.value.weight[:width] = torch.eye(width)
            self.gate.weight[:width] *= 0.1
            self.gate.weight[:width, constant] = open_at
            self.out.weight[:, :width] = torch.eye(out, width) / swish
            self.out.weight[:, width:] *= 0.1

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) to (..., E')."""
        mixed: Tensor = self.out(self.value(x) * nn.functional.silu(self.gate(x)))
        return mixed
