"""DIN's activation unit: a small network decides how much each behaviour counts for a candidate.

Source: Deep Interest Network, arXiv:1706.06978. The weights are not normalised (no softmax), so that the sum
also shows how much interest there is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from laser.attention.gradients import ActivatedSums, written_out
from laser.attention.kernels import fusing
from laser.errors import ModelError


class ActivationUnit(nn.Module):
    """out = sum_j a_j x_j with a_j = v . relu(W [t; x_j; t - x_j; t * x_j] + b) + c.

    Behaviours may be wider than the candidate, E >= D: the difference and the product are taken over the
    first D dimensions, where both say what they are about.

    The first layer is split over the four inputs: W [t; x; t - x; t * x] = (W_t + W_d) t + (W_x - W_d + W_p
    diag(t)) x. The candidate's part is computed once per candidate and the rest is one batched product, so
    the (B, L, C, 4 D) concatenation is never built.

    Padding needs no mask: a padded behaviour is the zero vector, and whatever its weight, it adds zero.

    Args:
        width: D of candidates. behaviour_width: E. hidden: units.
        sharpness, bias: one unit starts as relu(sharpness t . x + bias), scaled to 1 where t . x is 1; a
            sharpness of 0 is torch's own start.

    Raises:
        ValueError: that unit would begin closed for every behaviour.
    """

    def __init__(self, width: int, behaviour_width: int, hidden: int, sharpness: float, bias: float) -> None:
        super().__init__()
        if sharpness > 0 and sharpness + bias <= 0:
            raise ModelError(
                f"sharpness is {sharpness} and bias {bias}, expected a sum above 0: the unit would begin "
                "closed."
            )
        self.sizes = [width, behaviour_width, width, width]
        self.first = nn.Linear(sum(self.sizes), hidden)
        self.last = nn.Linear(hidden, 1)
        with torch.no_grad():
            self.first.weight.mul_(0.5)
            nn.init.zeros_(self.last.bias)
            if sharpness > 0:
                # One unit starts as the gate that LASER's heads start as: open when t . x is high. Small
                # random weights alone take most of an epoch to find that matching categories matter.
                self.first.weight[0] = 0.0
                self.first.weight[0, -width:] = sharpness
                self.first.bias[0] = bias
                self.last.weight[0, 0] = 1.0 / (sharpness + bias)

    def forward(self, target: Tensor, history: Tensor) -> Tensor:
        """Sum each history by its activation for each candidate.

        Args:
            target: (B, C, D) candidates.
            history: (B, L, E) behaviours, zero vectors where padded.

        Returns:
            (B, C, E).
        """
        requests, candidates, width = target.shape
        of_target, of_history, of_difference, of_product = torch.split(self.first.weight, self.sizes, dim=1)
        constant = torch.addmm(self.first.bias, target.reshape(-1, width), (of_target + of_difference).t())
        beyond = (0, history.shape[2] - width)
        # In place is safe: neither product nor sum needs what it gave again.
        about = (target.unsqueeze(2) * of_product).sub_(of_difference)
        maps = nn.functional.pad(about, beyond).add_(of_history)
        seen = history.shape[2]
        if not torch.is_grad_enabled() and fusing(history):
            from laser.attention.kernels.activation import activation, fits

            if fits(seen, self.first.out_features):
                apart = constant.view(requests, candidates, -1)
                return activation(maps, apart, history, (self.last.weight, self.last.bias))
        own, maps = constant.view(requests, -1), maps.view(requests, -1, seen)
        if written_out(history):
            attended: Tensor = ActivatedSums.apply(  # type: ignore[no-untyped-call]
                own, maps, history, self.last.weight, self.last.bias
            )
            return attended
        hidden = torch.baddbmm(own.unsqueeze(1), history, maps.transpose(1, 2))
        # In place is safe: neither baddbmm nor relu needs its input again.
        hidden = hidden.relu_().view(-1, self.first.out_features)
        weights = torch.addmm(self.last.bias, hidden, self.last.weight.t()).view(requests, -1, candidates)
        return torch.bmm(weights.transpose(1, 2), history)


def activation_unit_plain(unit: ActivationUnit, target: Tensor, history: Tensor) -> Tensor:
    """The same formula as published: one concatenated row for each (candidate, behaviour) pair."""
    return (activations(unit, target, history).unsqueeze(3) * history.unsqueeze(1)).sum(dim=2)


def activations(unit: ActivationUnit, target: Tensor, history: Tensor) -> Tensor:
    """(B, C, L), what each behaviour counts for each candidate, a_j as published."""
    pairs = (target.shape[0], target.shape[1], history.shape[1])
    t = target.unsqueeze(2).expand(*pairs, -1)
    x = history.unsqueeze(1).expand(*pairs, -1)
    about = x[..., : target.shape[2]]
    pair = torch.cat([t, x, t - about, t * about], dim=-1)
    weights: Tensor = unit.last(torch.relu(unit.first(pair)))
    return weights.squeeze(3)
