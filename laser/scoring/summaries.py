"""Summaries of users made and read apart, as a server that keeps them does: two halves of a forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laser.batch import RankingBatch
from laser.models.vista import Vista
from laser.models.vql import Vql
from laser.scoring.snapshot import Snapshot

Summaries = tuple[Tensor, ...]  # of B users each, what a model's `summarise` gives


class SummaryScorer:
    """A snapshot of a model whose `summary_bytes` are above 0."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Make one.

        Raises:
            TypeError: the model keeps no summary of a user, or reads the newest behaviours beside it.
        """
        model = snapshot.model
        if not isinstance(model, Vista | Vql) or not model.summary_bytes or model.short_length:
            raise TypeError(
                f"a {type(model).__name__} cannot be served from summaries alone, expected Vista, or Vql of "
                'form = "cached", and short = 0.'
            )
        self._snapshot, self._model = snapshot, model

    def make(self, batch: RankingBatch) -> Summaries:
        """The summaries of a batch's users, as of the batch's ages, on the host."""
        with self._snapshot.computing():
            made = self._model.summarise(batch.to(self._snapshot.device))
        return tuple(part.cpu() for part in ((made,) if isinstance(made, Tensor) else made))

    @staticmethod
    def beside(made: Sequence[Summaries]) -> Summaries:
        """The summaries of several batches as those of one."""
        return tuple(torch.cat(parts) for parts in zip(*made, strict=True))

    def score(self, batch: RankingBatch, summaries: Summaries) -> NDArray[np.float32]:
        """(B, C) logits of a batch's candidates by its users' summaries; its histories are not looked at."""
        with self._snapshot.computing():
            here = batch.to(self._snapshot.device)
            target = self._model.category(here.ad_category)
            kept = [part.to(self._snapshot.device) for part in summaries]
            if isinstance(self._model, Vql):
                read = self._model.read((kept[0], kept[1], kept[2]), target)
            else:
                read = self._model.read(kept[0], target)
            logits: NDArray[np.float32] = self._model.head(here, read).cpu().numpy()
        beyond = np.arange(batch.candidates) >= batch.candidate_count.numpy()[:, None]
        return np.where(beyond, np.float32(-np.inf), logits)
