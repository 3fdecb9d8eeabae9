"""Reading a history by the weights of an activation unit: DIN, and the short sequence beside other models."""

from __future__ import annotations

from torch import Tensor, nn

from laser.attention.activation_unit import ActivationUnit, activation_unit_plain
from laser.batch import RankingBatch
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.tokens import CandidateToken


class ActivationReading(nn.Module):
    """Sum the history by the activation unit's weights: all of DIN but the head.

    Args:
        width: D. hidden, sharpness, bias: of the unit.
        whole: compare all of a behaviour, its kind included, with a candidate that has a kind of its own: 4 d
            inputs as published; else only what both are about is subtracted and multiplied.
        pairs: compute with one concatenated row for each (candidate, behaviour), as published, not split.
    """

    def __init__(
        self,
        width: int,
        actions: int,
        scenes: int,
        time_gap: bool = True,
        hidden: int = 32,
        sharpness: float = 6.0,
        bias: float = -3.0,
        whole: bool = False,
        pairs: bool = False,
    ) -> None:
        super().__init__()
        seen = width + KIND_WIDTH
        self.history = BehaviourEmbedding(actions, scenes, time_gap)
        self.unit = ActivationUnit(seen if whole else width, seen, hidden, sharpness, bias)
        self.candidate = CandidateToken() if whole else None
        self.pairs = pairs

    def forward(self, batch: RankingBatch, category: Tensor, target: Tensor) -> Tensor:
        """(B, C, D + KIND_WIDTH).

        Args:
            category: (categories, D), the shared table. target: (B, C, D), the candidates' rows of it.
        """
        history, _ = self.history(batch, category)
        query = target if self.candidate is None else self.candidate(target)
        if self.pairs:
            return activation_unit_plain(self.unit, query, history)
        attended: Tensor = self.unit(query, history)
        return attended
