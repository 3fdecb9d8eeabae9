"""Rows of a small table for very many places."""

from __future__ import annotations

import torch
from torch import Tensor

from laser.attention.kernels import fusing

_COPIES = 64


def look_up(table: Tensor, at: Tensor) -> Tensor:
    """table[at], for a table of numbers (R,) or rows (R, E).

    Inside a fast step on a GPU its gradient is summed by atomic additions, spread over copies of the table:
    the gradient of an index sorts all places first, which took HSTU nine tenths of a training step when it
    looked up a bias for every pair of behaviours. While scoring there is no gradient.
    """
    return spread_look_up(table, at) if fusing(table) and torch.is_grad_enabled() else table[at]


def table_rows(table: Tensor, at: Tensor) -> Tensor:
    """(N, E) rows of a table (R, E) for places (N,).

    On one thread of a CPU the gradient of a selection takes a quarter of an embedding's, which calls a
    library for each place, and adds in the same order. On several it need not; on a GPU it sorts first.
    """
    one_thread = not at.is_cuda and torch.get_num_threads() == 1 and torch.is_grad_enabled()
    return table.index_select(0, at) if one_thread else torch.nn.functional.embedding(at, table)


def embedded(table: Tensor, at: Tensor) -> Tensor:
    """(..., E) rows of a table (R, E) for places of any shape; see `table_rows`."""
    return table_rows(table, at.flatten()).view(*at.shape, table.shape[1])


def spread_look_up(table: Tensor, at: Tensor) -> Tensor:
    """The same values; copies of the table share the work of its gradient."""
    places = at.flatten()
    places = places + torch.arange(len(places), device=at.device) % _COPIES * len(table)
    if table.dim() == 1:
        return table.repeat(_COPIES).gather(0, places).view(at.shape)
    found = table.repeat(_COPIES, 1).gather(0, places.unsqueeze(1).expand(-1, table.shape[1]))
    return found.view(*at.shape, table.shape[1])
