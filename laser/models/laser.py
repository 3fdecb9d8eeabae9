"""LASER: segments of the whole history become tokens of the candidate, which then reads them.

history -> STA (a token for each segment) -> GSTA (the candidate, refined M times) -> fusion -> head.

Source: LASER, arXiv:2602.11562. Its equations were not available; docs/models.md marks what is our reading.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.segmented import gated_segments
from laser.attention.stacked import target_attention
from laser.batch import RankingBatch
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose


class Laser(RankingModel):
    """Lifelong histories by segmented, then stacked target attention.

    Segments are counted from the newest behaviour: the newest `segment` behaviours are one segment whatever
    the history's length, and only the oldest segment may be partly filled. Options:

        segment: behaviours in a segment.
        heads: gates of a behaviour.
        layers: M, readings of GSTA; global_heads: its heads.
        ffn: hidden width of the feed-forward nets in units of D; 0 leaves them and the LayerNorm behind out.
        norm: LayerNorm behind the segments' feed-forward net.
        gates: "sigmoid", or "softmax" over the segment.
        fusion: add the strongest and the `recent` newest segments to the refined candidate.
        time_gap: embed the behaviours' ages.
        gate_init, gate_bias, gate_noise: the query map starts as gate_init I + noise, gates at this bias.
        sink: GSTA may read nothing (see `target_attention`).
        branches: groups of scenes, each read on its own, such as [[0], [1, 2]]; null reads all as one.
    """

    OPTIONS: ClassVar[dict[str, Any]] = {
        "segment": 10,
        "heads": 2,
        "layers": 2,
        "global_heads": 2,
        "ffn": 2,
        "norm": True,
        "gates": "sigmoid",
        "fusion": True,
        "recent": 5,
        "time_gap": True,
        "gate_init": 10.0,
        "gate_bias": -6.0,
        "gate_noise": 0.05,
        "sink": True,
        "branches": None,
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        scenes: list[tuple[int, ...] | None] = [None]
        if chosen["branches"] is not None:
            scenes = [tuple(group) for group in chosen["branches"]]
        parts = (2 + chosen["recent"]) if chosen["fusion"] else 1
        super().__init__(config, attended=parts * config.width * len(scenes))
        self.scenes = scenes
        self.segment: int = chosen["segment"]
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        self.branches = nn.ModuleList(Branch(config.width, chosen) for _ in scenes)

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, branches x parts x D): refined candidate, strongest and newest segments of each branch."""
        outputs = []
        for scenes, branch in zip(self.scenes, self.branches, strict=True):
            segment = self.segment
            seen = batch if scenes is None else batch.only_scenes(scenes)
            history, rows = self.history(seen, self.category.weight, segment)
            outputs.append(branch(target, history, None if seen.even_segments(segment) else rows > 0))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)


class Branch(nn.Module):
    """STA, GSTA and fusion over one sequence."""

    def __init__(self, width: int, chosen: dict[str, Any]) -> None:
        super().__init__()
        self.segment: int = chosen["segment"]
        self.gates = chosen["gates"]
        self.fusion: bool = chosen["fusion"]
        self.recent: int = chosen["recent"]
        heads = chosen["heads"]
        seen = width + KIND_WIDTH
        # A candidate recognises its own category from the start; what kinds of behaviour it heeds is learned.
        noise = chosen["gate_noise"] * torch.randn(heads, width, seen)
        self.query = nn.Parameter(chosen["gate_init"] * torch.eye(width, seen) + noise)
        self.bias = nn.Parameter(torch.full((heads,), float(chosen["gate_bias"])))
        self.value = nn.Linear(heads * seen, width)
        inner = chosen["ffn"] * width
        self.feed = FeedForward(width, inner, chosen["norm"]) if inner else None
        self.layers = nn.ModuleList(
            GlobalLayer(width, chosen["global_heads"], inner, chosen["sink"]) for _ in range(chosen["layers"])
        )

    def forward(self, target: Tensor, history: Tensor, real: Tensor | None) -> Tensor:
        """Read a history for each candidate.

        Args:
            target: (B, C, D).
            history: (B, L, D + KIND_WIDTH), newest last, L a multiple of the segment.
            real: (B, L) bool, False where padded; None if nothing is.

        Returns:
            (B, C, parts x D).
        """
        requests = target.shape[0]
        query = torch.einsum("bcd,ade->bcae", target, self.query)
        sums = gated_segments(query, history, self.segment, self.bias, self.gates, real)
        tokens = self.value(sums.flatten(3))
        if self.feed is not None:
            tokens = self.feed(tokens)
        tokens = tokens.transpose(1, 2).contiguous()  # (B, C, S, D): once, for all layers.
        filled = None if real is None else real.view(requests, -1, self.segment).any(dim=2)
        refined = target
        for layer in self.layers:
            refined = layer(refined, tokens, filled)
        if not self.fusion:
            return refined
        return torch.cat([refined, *_strongest_and_newest(tokens, filled, self.recent)], dim=2)


class GlobalLayer(nn.Module):
    """u' = LN(u + attention(u, tokens)), then u'' = LN(u' + FFN(u'))."""

    def __init__(self, width: int, heads: int, inner: int, sink: bool) -> None:
        super().__init__()
        self.sink = sink
        self.query = nn.Parameter(torch.eye(width) + 0.05 * torch.randn(heads, width, width))
        self.value = nn.Linear(heads * width, width)
        self.norm = nn.LayerNorm(width)
        self.feed = FeedForward(width, inner, norm=True) if inner else None

    def forward(self, refined: Tensor, tokens: Tensor, filled: Tensor | None) -> Tensor:
        """(B, C, D) the candidate after one more reading of its (B, C, S, D) tokens."""
        query = torch.einsum("bcd,ade->bcae", refined, self.query)
        read = target_attention(query, tokens, filled, self.sink)
        refined = self.norm(refined + self.value(read.flatten(2)))
        return refined if self.feed is None else self.feed(refined)


class FeedForward(nn.Module):
    """LN(x + W_2 relu(W_1 x)), the LayerNorm being optional."""

    def __init__(self, width: int, inner: int, norm: bool) -> None:
        super().__init__()
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        x = x + self.down(torch.relu_(self.up(x)))
        return x if self.norm is None else self.norm(x)


def _strongest_and_newest(tokens: Tensor, filled: Tensor | None, recent: int) -> tuple[Tensor, Tensor]:
    """The elementwise maximum over real segments, and the newest side by side; zeros where there are none."""
    strongest_of = tokens
    if filled is not None:
        mask = filled[:, None, :, None]
        strongest_of = tokens.masked_fill(~mask, -1e30)
        tokens = tokens * mask
    strongest = strongest_of.max(dim=2).values
    if filled is not None:
        strongest = strongest * filled.any(dim=1)[:, None, None]
    missing = recent - tokens.shape[2]
    if missing > 0:
        tokens = nn.functional.pad(tokens, (0, 0, missing, 0))
    return strongest, tokens[:, :, tokens.shape[2] - recent :].flatten(2)
