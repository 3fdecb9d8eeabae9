"""Attention over vector-quantised keys, exactly and from a cache whose size does not grow with the history.

Keys are replaced by the nearest code of a small codebook, values stay exact. Behaviours of one code then get
one weight, so sums over codes replace sums over behaviours: with A_n = sum of the values of code n and n_n
their number, out = sum_n e^(q c_n) A_n / sum_n e^(q c_n) n_n, the same numbers.

A separable temporal kernel e^(-rate age) multiplies each behaviour's weight; it enters A_n and n_n when they
are summed, so the cache serves any query.

Sources: VQL, arXiv:2508.17125 (formulas are our reading); Transformer-VQ, arXiv:2309.16354 (the algebra).
"""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-20


def nearest(keys: Tensor, codes: Tensor) -> Tensor:
    """(B, G, L) index of the nearest of (G, N, K) codes to (B, G, L, K) keys, of each group."""
    # |k - c|^2 without |k|^2, which is the same for every code.
    distance = codes.square().sum(dim=2).unsqueeze(1) - 2.0 * torch.einsum("bglk,gnk->bgln", keys, codes)
    return distance.argmin(dim=3)


def read_exactly(query: Tensor, keys: Tensor, values: Tensor, kernel: Tensor) -> Tensor:
    """sum_j e^(q k_j) f_j v_j / sum_j e^(q k_j) f_j over all behaviours.

    Args:
        query: (B, C, G, A, K), scaled; A heads in each of G groups.
        keys: (B, G, L, K), quantised. values: (B, G, A, L, V).
        kernel: (B, G, L), f_j, 0 where padded.

    Returns:
        (B, C, G, A, V); zero for an empty history.
    """
    scores = torch.einsum("bcgak,bglk->bcgal", query, keys)
    weights = _powers(scores, kernel[:, None, :, None])
    total = weights.sum(dim=4, keepdim=True)
    return torch.einsum("bcgal,bgalv->bcgav", weights, values) / total.clamp(min=_TINY)


def cache(values: Tensor, code: Tensor, kernel: Tensor, codes: int) -> tuple[Tensor, Tensor]:
    """What a server keeps of a user: (B, G, A, N, V) sums of values and (B, G, N) sums of kernels, by code.

    Args:
        values: (B, G, A, L, V). code: (B, G, L) in [0, N). kernel: (B, G, L), 0 where padded.
    """
    requests, groups, heads, _, width = values.shape
    count = kernel.new_zeros(requests, groups, codes).scatter_add(2, code, kernel)
    at = code[:, :, None, :, None].expand(-1, -1, heads, -1, width)
    sums = values.new_zeros(requests, groups, heads, codes, width)
    return sums.scatter_add(3, at, values * kernel[:, :, None, :, None]), count


def read_cached(query: Tensor, codes: Tensor, sums: Tensor, count: Tensor) -> Tensor:
    """`read_exactly` from the cache: its cost does not depend on the history's length.

    Args:
        query: (B, C, G, A, K), scaled. codes: (G, N, K). sums, count: what `cache` made.
    """
    scores = torch.einsum("bcgak,gnk->bcgan", query, codes)
    there = count[:, None, :, None]
    powers = _powers(scores, (there > 0).to(scores.dtype))
    total = (powers * there).sum(dim=4, keepdim=True)
    return torch.einsum("bcgan,bganv->bcgav", powers, sums) / total.clamp(min=_TINY)


def _powers(scores: Tensor, mass: Tensor) -> Tensor:
    """mass e^(scores - their maximum where there is mass); 0 where there is none."""
    shown = scores.masked_fill(mass == 0, -torch.inf)
    top = shown.detach().amax(dim=4, keepdim=True)
    return (shown - top.masked_fill(top == -torch.inf, 0.0)).exp() * mass
