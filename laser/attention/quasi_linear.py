"""Quasi-linear attention: phi(Q) phi(phi(K)^T V / n), linear in the length of the history.

The inner activation works on the K x K matrix: that is what sets it apart from linear attention. There is no
normalisation over rows; the mean over valid positions keeps the scale independent of the length (our reading
of the paper's 1 / N).

Source: VISTA, arXiv:2510.22049.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import silu


def quasi_linear(query: Tensor, key: Tensor, value: Tensor, real: Tensor, chunk: int = 0) -> Tensor:
    """phi(Q) phi(phi(K)^T V / n) with phi = SiLU.

    Args:
        query: (B, A, N, K). key, value: (B, A, L, K).
        real: (B, L) bool.
        chunk: sum phi(K)^T V over chunks of so many positions instead of at once; 0 for all at once.

    Returns:
        (B, A, N, K).
    """
    return torch.matmul(silu(query), silu(summary_matrix(key, value, real, chunk)))


def summary_matrix(key: Tensor, value: Tensor, real: Tensor, chunk: int = 0) -> Tensor:
    """phi(K)^T V / n, (B, A, K, K)."""
    keys = silu(key) * real[:, None, :, None]
    count = real.sum(dim=1).clamp(min=1).view(-1, 1, 1, 1)
    if not chunk:
        return torch.matmul(keys.transpose(2, 3), value) / count
    parts = [
        torch.matmul(keys[:, :, i : i + chunk].transpose(2, 3), value[:, :, i : i + chunk])
        for i in range(0, key.shape[2], chunk)
    ]
    return torch.stack(parts).sum(dim=0) / count


def quasi_linear_candidates(query: Tensor, own_key: Tensor, own_value: Tensor, matrix: Tensor) -> Tensor:
    """phi(Q) phi(M) + (phi(q) . phi(k)) v: each candidate reads the sequence's matrix and itself.

    Candidates do not read one another, so what the second term adds is their own value alone.

    Args:
        query, own_key: (B, A, C, K), own_value: (B, A, C, V), the candidates'.
        matrix: (B, A, K, V), see `summary_matrix`.

    Returns:
        (B, A, C, V).
    """
    read = silu(query)
    own = (read * silu(own_key)).sum(dim=3, keepdim=True)
    return torch.matmul(read, silu(matrix)) + own * own_value


def quasi_linear_plain(query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> Tensor:
    """The formula one behaviour at a time."""
    requests, heads, length, width = key.shape
    out = torch.zeros_like(query)
    for b in range(requests):
        n = max(int(real[b].sum()), 1)
        for a in range(heads):
            matrix = torch.zeros(width, width, dtype=key.dtype)
            for j in range(length):
                if real[b, j]:
                    matrix = matrix + torch.outer(silu(key[b, a, j]), value[b, a, j])
            out[b, a] = silu(query[b, a]) @ silu(matrix / n)
    return out
