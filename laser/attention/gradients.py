"""Gradients written out, for training on a CPU: start at `written_out`.

torch takes a gradient operation by operation, each with a tensor of its own for what it hands on, laid out as
the last one left it: over the largest tensors of DIN and LASER a tenth of a step or more. Here the forward
pass has the operations of the plain form, so its numbers are the same to the bit; the backward pass works in
place, adds products where their sum is wanted, and reads every factor as it lies in memory. Its twin is
torch's own gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_EPSILON = 1e-5  # of the LayerNorm, as torch's own has it


def written_out(x: Tensor) -> bool:
    """Whether a function of this file does the work on x: where a gradient is recorded on a CPU, in the
    precision of x."""
    return torch.is_grad_enabled() and not x.is_cuda and not torch.is_autocast_enabled("cpu")


class GatedSums(Function):
    """sum_j sigmoid(k . x_j + o) x_j over the behaviours of each segment, for each of K keys.

    In: keys (B, K, E), history (B, L, E), offset (K,), segment w. Out: (B L / w, K, E).
    """

    @staticmethod
    def forward(ctx: Any, keys: Tensor, history: Tensor, offset: Tensor, segment: int) -> Tensor:
        gates = torch.baddbmm(offset.view(1, 1, -1), history, keys.transpose(1, 2)).sigmoid_()
        ctx.segment = segment
        ctx.save_for_backward(keys, history, gates)
        return torch.bmm(_rows(gates, segment).transpose(1, 2), _rows(history, segment))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        keys, history, gates = ctx.saved_tensors
        of_sums, segment = gradients[0].contiguous(), ctx.segment
        of_gates = torch.bmm(_rows(history, segment), of_sums.transpose(1, 2)).view(gates.shape)
        torch.ops.aten.sigmoid_backward.grad_input(of_gates, gates, grad_input=of_gates)
        of_history = torch.bmm(of_gates, keys)
        _rows(of_history, segment).baddbmm_(_rows(gates, segment), of_sums)
        of_keys = torch.bmm(of_gates.transpose(1, 2), history)
        return of_keys, of_history, of_gates.flatten(0, 1).sum(0), None


class ActivatedSums(Function):
    """sum_j a_j x_j with a_j = v . relu(M x_j + m) + c, for each candidate of a request.

    In: m (B, C H), M (B, C H, E), history (B, L, E), v (1, H), c (1,). Out: (B, C, E).
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, maps: Tensor, history: Tensor, last: Tensor, bias: Tensor) -> Tensor:
        hidden = torch.baddbmm(own.unsqueeze(1), history, maps.transpose(1, 2)).relu_()
        weights = torch.addmm(bias, hidden.view(-1, last.shape[1]), last.t())
        weights = weights.view(*history.shape[:2], -1)
        ctx.save_for_backward(maps, history, last, hidden, weights)
        return torch.bmm(weights.transpose(1, 2), history)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        maps, history, last, hidden, weights = ctx.saved_tensors
        of_out = gradients[0]
        of_weights = torch.bmm(history, of_out.transpose(1, 2)).view(-1, 1)
        of_last = torch.mm(of_weights.t(), hidden.view(-1, last.shape[1]))
        of_hidden = torch.mm(of_weights, last).view(hidden.shape)
        torch.ops.aten.threshold_backward.grad_input(of_hidden, hidden, 0, grad_input=of_hidden)
        of_history = torch.bmm(weights, of_out).baddbmm_(of_hidden, maps)
        of_maps = torch.bmm(of_hidden.transpose(1, 2), history)
        # A product with ones: a sum over the middle dimension takes three times as long.
        ones = history.new_ones(len(history), 1, history.shape[1])
        of_own = torch.bmm(ones, of_hidden).squeeze(1)
        return of_own, of_maps, of_history, of_last, of_weights.sum().view(1)


class FeedForwardRows(Function):
    """LN(x + W_2 relu(W_1 x + b_1) + b_2) of rows x.

    In: x (N, D), W_1 (F, D), b_1 (F,), W_2 (D, F), b_2, scale and shift of the norm (D,). Out: (N, D).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        up, up_bias, down, down_bias, scale, shift = weights
        hidden = torch.addmm(up_bias, x, up.t()).relu_()
        y = torch.addmm(down_bias, hidden, down.t()).add_(x)
        out, mean, root = torch.native_layer_norm(y, scale.shape, scale, shift, _EPSILON)
        ctx.save_for_backward(x, hidden, y, mean, root, up, down, scale, shift)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, hidden, y, mean, root, up, down, scale, shift = ctx.saved_tensors
        of_y, of_scale, of_shift = torch.ops.aten.native_layer_norm_backward(
            gradients[0], y, scale.shape, mean, root, scale, shift, [True, True, True]
        )
        of_hidden = torch.mm(of_y, down)
        torch.ops.aten.threshold_backward.grad_input(of_hidden, hidden, 0, grad_input=of_hidden)
        of_x = torch.mm(of_hidden, up).add_(of_y)
        of_up, of_down = torch.mm(of_hidden.t(), x), torch.mm(of_y.t(), hidden)
        return of_x, of_up, of_hidden.sum(0), of_down, of_y.sum(0), of_scale, of_shift


def _rows(values: Tensor, segment: int) -> Tensor:
    """(B, L, K) as (B L / w, w, K)."""
    return values.view(-1, segment, values.shape[2])
