"""RankMixer: a head that mixes feature tokens without attention.

Source: RankMixer, arXiv:2507.15551. How features become tokens is our reading: all inputs side by side, cut
into T pieces of one width, each with a linear map of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from laser.errors import ModelError
from laser.models.heads.head import CONTEXT, RankingHead, with_context


class RankMixerHead(RankingHead):
    """`RankingHead` whose network is T tokens of width D through L `MixerLayer`s, averaged, to one number.

    Args:
        tokens: T. layers: L. width: D, a multiple of T. ratio: k, the token nets' inner width in units of D.
    """

    def __init__(
        self, ads: int, categories: int, attended: int, tokens: int, layers: int, width: int, ratio: int
    ) -> None:
        self.sizes = tokens, layers, width, ratio
        super().__init__(ads, categories, attended)

    def _build(self, inputs: int) -> None:
        tokens, layers, width, ratio = self.sizes
        self.piece = -(-(inputs + CONTEXT) // tokens)
        self.enter = nn.Parameter(torch.randn(tokens, self.piece, width) * self.piece**-0.5)
        self.mixers = nn.ModuleList(MixerLayer(tokens, width, ratio) for _ in range(layers))
        self.out = nn.Linear(width, 1)

    def _scores(self, candidate: Tensor, context: Tensor) -> Tensor:
        tokens = self.sizes[0]
        x = with_context(candidate, context)
        x = pad(x, (0, tokens * self.piece - x.shape[2])).view(*x.shape[:2], tokens, self.piece)
        x = torch.einsum("bctp,tpd->bctd", x, self.enter)
        for mixer in self.mixers:
            x = mixer(x)
        scores: Tensor = self.out(x.mean(dim=2))
        return scores


class MixerLayer(nn.Module):
    """S = LN(mixed(X) + X), X' = LN(PFFN(S) + S): tokens exchange pieces, then each has a net of its own.

    2 k T D^2 weights and as many multiply-accumulates per row (without biases and norms).
    """

    def __init__(self, tokens: int, width: int, ratio: int) -> None:
        super().__init__()
        if width % tokens:
            raise ModelError(f"head_width is {width}, expected a multiple of the {tokens} tokens.")
        inner = ratio * width
        self.up = nn.Parameter(torch.randn(tokens, width, inner) * width**-0.5)
        self.up_bias = nn.Parameter(torch.zeros(tokens, inner))
        self.down = nn.Parameter(torch.randn(tokens, inner, width) * inner**-0.5)
        self.down_bias = nn.Parameter(torch.zeros(tokens, width))
        self.mix_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., T, D) to (..., T, D)."""
        mixed = self.mix_norm(mixed_tokens(x) + x)
        inner = gelu(torch.einsum("...td,tdi->...ti", mixed, self.up) + self.up_bias)
        fed = torch.einsum("...ti,tid->...td", inner, self.down) + self.down_bias
        out: Tensor = self.feed_norm(fed + mixed)
        return out


def mixed_tokens(x: Tensor) -> Tensor:
    """Cut each of T tokens into T pieces; new token h is piece h of every token, in order. A transpose."""
    tokens, width = x.shape[-2:]
    pieces = x.reshape(*x.shape[:-1], tokens, width // tokens)
    return pieces.transpose(-3, -2).reshape(x.shape)
