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
_BLOCK = 1024  # behaviours; more take memory, fewer take launches


def nearest(keys: Tensor, codes: Tensor) -> Tensor:
    """(B, G, L) index of the nearest of (G, N, K) codes to (B, G, L, K) keys, of each group."""
    # |k - c|^2 without |k|^2, which is the same for every code.
    distance = codes.square().sum(dim=2).unsqueeze(1) - 2.0 * torch.einsum("bglk,gnk->bgln", keys, codes)
    return distance.argmin(dim=3)


def read_exactly(
    query: Tensor, keys: Tensor, values: Tensor, kernel: Tensor, sink: Tensor | None = None
) -> Tensor:
    """sum_j e^(q k_j) f_j v_j / (e^sink + sum_j e^(q k_j) f_j) over all behaviours.

    Args:
        query: (B, C, G, A, K), scaled; A heads in each of G groups.
        keys: (B, G, L, K), quantised. values: (B, L, V).
        kernel: (B, G, L), f_j, 0 where padded.
        sink: (G, A), the score of an entry that reads nothing; None leaves it out (see `masked_softmax`).

    Returns:
        (B, C, G, A, V); zero for an empty history.
    """
    scores = torch.einsum("bcgak,bglk->bcgal", query, keys)
    shares = _shares(scores, kernel[:, None, :, None], sink)
    return torch.einsum("bcgal,blv->bcgav", shares * kernel[:, None, :, None], values)


def cache(values: Tensor, code: Tensor, kernel: Tensor, codes: int) -> tuple[Tensor, Tensor]:
    """What a server keeps of a user: (B, G, N, V) sums of values and (B, G, N) sums of kernels, by code.

    Args:
        values: (B, L, V). code: (B, G, L) in [0, N). kernel: (B, G, L), 0 where padded.
    """
    requests, groups, _ = code.shape
    if kernel.is_cuda:
        return _cache_in_blocks(values, code, kernel, codes)
    count = kernel.new_zeros(requests, groups, codes).scatter_add(2, code, kernel)
    at = code.unsqueeze(3).expand(-1, -1, -1, values.shape[2])
    sums = values.new_zeros(requests, groups, codes, values.shape[2])
    return sums.scatter_add(2, at, values.unsqueeze(1) * kernel.unsqueeze(3)), count


def _cache_in_blocks(values: Tensor, code: Tensor, kernel: Tensor, codes: int) -> tuple[Tensor, Tensor]:
    """`cache` by matrix products with (L, N) of ones, a block of behaviours at a time.

    A GPU adds up a scatter in the order in which its threads come, so that the last bits changed from run to
    run and with the other requests of a batch.
    """
    requests, groups, length = code.shape
    count = kernel.new_zeros(requests, groups, codes)
    sums = values.new_zeros(requests, groups, codes, values.shape[2])
    known = torch.arange(codes, device=code.device).view(-1, 1)
    for start in range(0, length, _BLOCK):
        part = slice(start, start + _BLOCK)
        weights = (code[:, :, None, part] == known) * kernel[:, :, None, part]  # (B, G, N, block)
        count = count + weights.sum(dim=3)
        sums = sums + torch.matmul(weights, values[:, None, part])
    return sums, count


def read_cached(
    query: Tensor, codes: Tensor, sums: Tensor, count: Tensor, sink: Tensor | None = None
) -> Tensor:
    """`read_exactly` from the cache: its cost does not depend on the history's length.

    Args:
        query: (B, C, G, A, K), scaled. codes: (G, N, K). sums, count: what `cache` made. sink: (G, A).
    """
    scores = torch.einsum("bcgak,gnk->bcgan", query, codes)
    shares = _shares(scores, count[:, None, :, None], sink)
    return torch.einsum("bcgan,bgnv->bcgav", shares, sums)


def _shares(scores: Tensor, mass: Tensor, sink: Tensor | None) -> Tensor:
    """e^score / (e^sink + sum of mass e^score) where there is mass, 0 elsewhere: shares for a mass of 1."""
    shown = scores.masked_fill(mass == 0, -torch.inf)
    top = shown.detach().amax(dim=4, keepdim=True)
    top = top.masked_fill(top == -torch.inf, 0.0)
    if sink is not None:
        top = torch.maximum(top, sink.detach().view(*sink.shape, 1))
    powers = (shown - top).exp()
    total = (powers * mass).sum(dim=4, keepdim=True)
    if sink is not None:
        total = total + (sink.view(*sink.shape, 1) - top).exp()
    return powers / total.clamp(min=_TINY)


def spread(keys: Tensor, count: int, rounds: int = 5) -> Tensor:
    """(count, K) codes for (N, K) keys: each the farthest key from those before it, then `rounds` of k-means.

    No draw is involved, so a training stays repeatable.
    """
    keys = torch.unique(keys, dim=0)
    codes = keys[:1]
    far = (keys - codes).square().sum(dim=1)
    while len(codes) < count:
        codes = torch.cat([codes, keys[far.argmax()].unsqueeze(0)])
        far = torch.minimum(far, (keys - codes[-1]).square().sum(dim=1))
    for _ in range(rounds):
        mine = torch.cdist(keys, codes).argmin(dim=1)
        count_of = torch.bincount(mine, minlength=count).unsqueeze(1)
        means = torch.zeros_like(codes).index_add(0, mine, keys) / count_of.clamp(min=1)
        codes = torch.where(count_of > 0, means, codes)
    return codes
