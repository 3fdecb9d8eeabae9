"""Behaviours as vectors: what was done, on which category, where, and how long ago."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from laser.attention.kernels import fusing
from laser.attention.look_up import table_rows
from laser.batch import RankingBatch

KIND_WIDTH = 8  # What a behaviour was (action, scene, age), beside the D of what it was about.
AGE_BUCKETS = 64  # Half powers of two from 1 s; the last one starts at 2^31.5 s, a century.


def age_bucket(age_s: Tensor) -> Tensor:
    """floor(2 log2(age)), the half-log2 bucket of each age, in [0, AGE_BUCKETS); ages below 1 s count as 1 s.

    Read from the exponent bits of age^2: exact, the same on every machine, and one pass.
    """
    squared = age_s.clamp(min=1.0).square()
    return ((squared.view(torch.int32) >> 23) - 127).clamp(max=AGE_BUCKETS - 1)


Tables = tuple[Tensor, Tensor | None]


class BehaviourEmbedding(nn.Module):
    """x_j = [category ; (action, scene) + age bucket]; the category rows are the candidates' own table.

    What the behaviour was about and what kind of behaviour it was have dimensions of their own: the first
    part is what a candidate recognises, the second what it counts. Added into one vector instead, the second
    is noise to the first, and the other way round. All kinds start with a 1 in the first of their dimensions,
    so that a weighted sum starts out with the total weight in it.

    Each behaviour becomes two row numbers, so that a history costs two table look-ups and one addition. Row 0
    of both tables is zero and means padding: a padded behaviour is the zero vector.
    """

    def __init__(self, actions: int, scenes: int, time_gap: bool) -> None:
        super().__init__()
        self.scenes = scenes
        self._kept: tuple[Tensor, Tables] | None = None
        self.kind = nn.Parameter(torch.randn(actions * scenes, KIND_WIDTH) * 0.3)
        with torch.no_grad():
            self.kind[:, 0] = 1.0
        self.age = nn.Parameter(torch.randn(AGE_BUCKETS, KIND_WIDTH) * 0.1) if time_gap else None

    def forward(self, batch: RankingBatch, category: Tensor, multiple: int = 1) -> tuple[Tensor, Tensor]:
        """Embed the histories, aligned at their newest behaviour.

        Args:
            batch: the requests.
            category: (categories, D), the shared table.
            multiple: L is rounded up to it.

        Returns:
            (B, L, D + KIND_WIDTH) embeddings, zero where padded, and (B, L) codes, 0 where padded.
        """
        kinds = self.kind.shape[0]
        what, when = self._tables(category)
        code = batch.category * kinds + batch.action * self.scenes + batch.scene + 1
        rows = batch.align(code, multiple)
        if when is not None and fusing(what):
            from laser.attention.kernels.behaviours import behaviours

            ages = batch.align(age_bucket(batch.age_s) + 1, multiple)
            return behaviours(what, when, rows, ages, category.shape[1]), rows
        embedded = table_rows(what, rows.flatten())
        if when is not None:
            ages = batch.align(age_bucket(batch.age_s) + 1, multiple)
            # In place is safe: the gradient of a look-up needs no row of it.
            embedded.add_(table_rows(when, ages.flatten()))
        return embedded.view(*rows.shape, -1), rows

    def keep(self, category: Tensor) -> None:
        """Build the look-up tables for good: for a model whose weights will not change any more.

        Building them takes a third of the time of scoring one request with a short history.

        Args:
            category: the table that the model hands to `forward`; with another one nothing kept is used.
        """
        self._kept = (category, self._build(category))

    def _tables(self, category: Tensor) -> Tables:
        if self._kept is not None and self._kept[0] is category:
            return self._kept[1]
        return self._build(category)

    def _build(self, category: Tensor) -> Tables:
        (categories, width), kinds = category.shape, self.kind.shape[0]
        about = category.unsqueeze(1).expand(categories, kinds, width)
        kind = self.kind.unsqueeze(0).expand(categories, kinds, KIND_WIDTH)
        table = torch.cat([about, kind], dim=2).view(categories * kinds, width + KIND_WIDTH)
        what = nn.functional.pad(table, (0, 0, 1, 0))
        return what, None if self.age is None else nn.functional.pad(self.age, (width, 0, 1, 0))
