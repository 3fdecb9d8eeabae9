"""Transformer: encoder layers over the history, with the candidates behind it.

Source: the baseline of LASER, arXiv:2602.11562, and LONGER, arXiv:2505.04421; where the text is silent the
reading is ours (docs/models.md): pre-norm, every behaviour sees every other, candidates see the history and
themselves, and the candidate's last state goes to the head.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.candidates import heads_of, joined, softmax_candidates, softmax_history
from laser.attention.relu import relu
from laser.batch import RankingBatch
from laser.errors import ModelError
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose
from laser.models.target import recognise
from laser.models.tokens import CandidateToken, Positions


class Transformer(RankingModel):
    """Options:

    layers, heads: of the encoder. ffn: inner width in units of the token's.
    time_gap: embed the behaviours' ages. positions: so many of the newest places have an embedding; 0: none.
    query_init: query and key maps begin as `recognise` says; 0: as torch does.
    all_rows: the last layer updates the history too, though nothing reads it, as papers count a Transformer.
    own_bias: on a candidate's score of itself at the start: itself is what it reads when nothing matches.
    """

    FIXED_SHAPES = True
    OPTIONS: ClassVar[dict[str, Any]] = {
        "layers": 1,
        "heads": 2,
        "ffn": 1,
        "time_gap": True,
        "positions": 64,
        "query_init": 1.5,
        "own_bias": 2.0,
        "all_rows": False,
    }
    RECOGNISES = ("category.", "layers.")
    SELF_ATTENTION = True

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        seen = config.width + KIND_WIDTH
        super().__init__(config, attended=seen)
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        self.candidate = CandidateToken()
        self.positions = Positions(chosen["positions"], seen)
        self.layers = nn.ModuleList(
            EncoderLayer(
                seen, config.width, chosen["heads"], chosen["ffn"], chosen["query_init"], chosen["own_bias"]
            )
            for i in range(chosen["layers"])
        )
        self.norm = nn.LayerNorm(seen)
        self.all_rows: bool = chosen["all_rows"]

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, E), the candidates behind the last layer."""
        history, rows = self.history(batch, self.category.weight)
        real, candidates = rows > 0, self.candidate(target)
        history = self.positions(history)
        for i, layer in enumerate(self.layers):
            # Nothing reads the history behind the last layer.
            last = i == len(self.layers) - 1 and not self.all_rows
            history, candidates = layer(history, candidates, real, last)
        out: Tensor = self.norm(candidates)
        return out


class EncoderLayer(nn.Module):
    """x' = x + MHA(LN(x)), x'' = x' + W_2 relu(W_1 LN(x')), for the history and the candidates behind it."""

    def __init__(
        self, width: int, about: int, heads: int, ffn: int, query_init: float, own_bias: float
    ) -> None:
        super().__init__()
        if width % heads:
            raise ModelError(f"heads is {heads}, expected a divisor of the token width {width} (width + 8).")
        self.heads = heads
        self.norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.own_bias = nn.Parameter(torch.full((heads,), float(own_bias)))
        self.up, self.down = nn.Linear(width, ffn * width), nn.Linear(ffn * width, width)
        if query_init:
            recognise(self.query, self.key, heads, about, query_init)

    def forward(self, history: Tensor, candidates: Tensor, real: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """(B, L, E) and (B, C, E) after the layer; `last` leaves the history as it was."""
        of_history, of_candidates = self.norm(history), self.norm(candidates)
        key, value = (heads_of(f(of_history), self.heads) for f in (self.key, self.value))
        query, own_key, own_value = (
            heads_of(f(of_candidates), self.heads) for f in (self.query, self.key, self.value)
        )
        read = softmax_candidates(query, own_key, own_value, key, value, real, self.own_bias)
        candidates = self._feed(candidates + self.out(joined(read)))
        if not last:
            read = softmax_history(heads_of(self.query(of_history), self.heads), key, value, real)
            history = self._feed(history + self.out(joined(read)))
        return history, candidates

    def _feed(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.down(relu(self.up(self.feed_norm(x))))
        return out
