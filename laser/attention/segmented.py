"""Segmented target attention (STA): one token for each (segment, candidate), gathered by independent gates.

A segment is a run of consecutive behaviours. Inside it every behaviour gets a sigmoid gate, not a share of
one, so that a segment with nothing relevant can come out as nearly nothing.

Source: LASER, arXiv:2602.11562. Its equations were not available; this is our reading, see docs/models.md.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from laser.attention.gradients import GatedSums, written_out
from laser.attention.masking import hide

Gates = Literal["sigmoid", "softmax", "softmax-sink"]
GATES: tuple[Gates, ...] = ("sigmoid", "softmax", "softmax-sink")


def gated_segments(
    query: Tensor,
    history: Tensor,
    segment: int,
    bias: Tensor,
    gates: Gates = "sigmoid",
    real: Tensor | None = None,
) -> Tensor:
    """Sum the raw behaviours of each segment by their gates: z = sum_j sigmoid(query . x_j + bias) x_j.

    Both linear maps are absorbed: the key map into the query, (t W_Q) W_K^T . x_j, and the value map behind
    the sum, (sum_j g_j x_j) W_V. No key or value tensor of the history exists, whatever its length.

    Padded behaviours are zero vectors and add zero under sigmoid gates; softmax gates need `real`.

    Args:
        query: (B, C, A, D), one mapped query for each candidate and head.
        history: (B, L, D), newest behaviour last, L a multiple of `segment`.
        segment: behaviours in a segment.
        bias: (A,), added to the scores of each head. Plain softmax gates ignore it: it would cancel.
        gates: "sigmoid"; "softmax" over the segment (an ablation); or "softmax-sink", over the segment and
            one more entry of score 0 that adds nothing, by which a segment can say that nothing matched.
        real: (B, L) bool, False where padded.

    Returns:
        (B, S, C, A, D), segments oldest first.
    """
    requests, candidates, heads, width = query.shape
    length = history.shape[1]
    keys = query.reshape(requests, candidates * heads, width)
    offset = bias.repeat(candidates)
    if gates == "sigmoid" and written_out(history):
        of_segments: Tensor = GatedSums.apply(  # type: ignore[no-untyped-call]
            keys, history.contiguous(), offset, segment
        )
        return of_segments.view(requests, -1, candidates, heads, width)
    # (B, L, C A): with candidates last, both products below read their operands as they lie in memory.
    keys, offset = keys.transpose(1, 2), offset.view(1, 1, -1)
    if gates == "sigmoid":
        # In place is safe: the product does not need its own output again.
        weights = torch.baddbmm(offset, history, keys).sigmoid_()
    else:
        sink = gates == "softmax-sink"
        scores = torch.baddbmm(offset, history, keys) if sink else torch.bmm(history, keys)
        if real is not None:
            # A finite stand-in for -inf keeps wholly padded segments free of NaN; they sum zero vectors
            # anyway.
            scores = hide(scores, ~real.unsqueeze(2))
        weights = shares(scores.view(requests, -1, segment, candidates * heads), 2, sink)
    segments = requests * (length // segment)
    sums = torch.bmm(
        weights.view(segments, segment, candidates * heads).transpose(1, 2),
        history.reshape(segments, segment, width),
    )
    return sums.view(requests, -1, candidates, heads, width)


def gated_values(query: Tensor, history: Tensor, values: Tensor, segment: int, bias: Tensor) -> Tensor:
    """`gated_segments` with the value map first: sum_j sigmoid(query . x_j + bias) v_j, over heads too.

    Values cost each behaviour once, whatever the number of candidates; then sums have their width and need no
    map behind them.

    Args:
        query, history, segment, bias: as in `gated_segments`, with sigmoid gates.
        values: (B, L, A V), each head's v_j, zero where padded.

    Returns:
        (B, S, C, V), segments oldest first.
    """
    requests, candidates, heads, width = query.shape
    keys = query.transpose(1, 2).reshape(requests, heads * candidates, width).transpose(1, 2)
    # (B, L, A C): behaviours and heads of a segment are one dimension, over which one product sums.
    offset = bias.repeat_interleave(candidates).view(1, 1, -1)
    gates = torch.baddbmm(offset, history, keys).sigmoid_().view(-1, segment * heads, candidates)
    sums = torch.bmm(gates.transpose(1, 2), values.reshape(len(gates), segment * heads, -1))
    return sums.view(requests, -1, candidates, sums.shape[2])


def shares(scores: Tensor, dim: int, sink: bool) -> Tensor:
    """Softmax along a dimension; with a sink beside one more entry of score 0, which is then left out."""
    if not sink:
        return scores.softmax(dim)
    beside = torch.cat([scores, torch.zeros_like(scores.narrow(dim, 0, 1))], dim)
    return beside.softmax(dim).narrow(dim, 0, scores.shape[dim])


def gate_weights(
    query: Tensor,
    keys: Tensor,
    segment: int,
    bias: Tensor,
    gates: Gates = "sigmoid",
    real: Tensor | None = None,
) -> Tensor:
    """Gates of low-dimensional queries and keys that exist: sigmoid(q . k + bias), or softmax in each
    segment, as in `gated_segments`.

    Args:
        query: (B, C, A, K), scaled. keys: (B, A, L, K), built once per request.
        segment, bias, gates, real: see `gated_segments`.

    Returns:
        (B, A, C, L).
    """
    scores = torch.matmul(query.transpose(1, 2), keys.transpose(2, 3))
    if gates == "sigmoid":
        weights = torch.sigmoid(scores + bias.view(1, -1, 1, 1))
        # A padded behaviour may have a value that is not zero: values can carry a constant.
        return weights if real is None else weights * real[:, None, None, :]
    sink = gates == "softmax-sink"
    scores = scores + bias.view(1, -1, 1, 1) if sink else scores
    if real is not None:
        scores = hide(scores, ~real[:, None, None, :])
    return shares(scores.view(*scores.shape[:3], -1, segment), 4, sink).flatten(3)


def segment_sums(weights: Tensor, values: Tensor, segment: int) -> Tensor:
    """(B, S, C, A, V): values summed by gates in each segment.

    Args:
        weights: (B, A, C, L). values: (B, A, L, V), or (B, L, V) for all heads.
    """
    of_heads = values.unsqueeze(1) if values.dim() == 3 else values
    apart = of_heads.reshape(*of_heads.shape[:2], -1, segment, of_heads.shape[3])  # (B, A, S, w, V)
    gated = weights.view(*weights.shape[:3], -1, segment).transpose(2, 3)  # (B, A, S, C, w)
    return torch.matmul(gated, apart).permute(0, 2, 3, 1, 4)


def gated_segments_plain(
    target: Tensor,
    history: Tensor,
    segment: int,
    query_map: Tensor,
    key_map: Tensor,
    value_map: Tensor,
    bias: Tensor,
    real: Tensor,
    gates: Gates = "sigmoid",
) -> Tensor:
    """STA as written: queries, keys and values for every behaviour and head, gates in each segment.

    Args:
        target: (B, C, D); history: (B, L, D); real: (B, L) bool.
        query_map, key_map: (A, D, K), K the query-key width; value_map: (A, D, V).

    Returns:
        (B, S, C, A, V). With query = target W_Q W_K^T / sqrt(K), `gated_segments` followed by W_V gives the
        same.
    """
    scale = query_map.shape[2] ** -0.5
    q = torch.einsum("bcd,adk->bcak", target, query_map)
    k = torch.einsum("bld,adk->blak", history, key_map)
    v = torch.einsum("bld,adv->blav", history, value_map)
    scores = torch.einsum("bcak,blak->blca", q, k) * scale
    shape = (scores.shape[0], -1, segment, *scores.shape[2:])
    mask = real.view(real.shape[0], -1, segment, 1, 1)
    if gates == "sigmoid":
        weights = torch.sigmoid(scores + bias).view(shape) * mask
    elif gates == "softmax":
        weights = hide(scores.view(shape), ~mask).softmax(dim=2) * mask
    else:
        powers = torch.exp((scores + bias).view(shape)) * mask
        weights = powers / (1.0 + powers.sum(dim=2, keepdim=True))
    return torch.einsum("bswca,bswav->bscav", weights, v.view(v.shape[0], -1, segment, *v.shape[2:]))
