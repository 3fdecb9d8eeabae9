"""Behaviours as vectors: what was done, on which category, where, and how long ago."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from laser.attention.kernels import fusing
from laser.attention.look_up import table_rows
from laser.batch import RankingBatch
from laser.errors import ModelError

KIND_WIDTH = 8  # What a behaviour was (action, scene, age), beside the D of what it was about.
_MOST_DEPARTMENTS = 1 << 16
AGE_BUCKETS = 64  # Half powers of two from 1 s; the last one starts at 2^31.5 s, a century.


def age_bucket(age_s: Tensor) -> Tensor:
    """floor(2 log2(age)), the half-log2 bucket of each age, in [0, AGE_BUCKETS); ages below 1 s count as 1 s.

    Read from the exponent bits of age^2: exact, the same on every machine, and one pass.
    """
    squared = age_s.clamp(min=1.0).square()
    return ((squared.view(torch.int32) >> 23) - 127).clamp(max=AGE_BUCKETS - 1)


def category_table(categories: int, width: int, departments: Any = None) -> nn.Embedding:
    """What behaviours and candidates are about: a row for each category.

    Args:
        categories: how many there are.
        width: D.
        departments: the department of each category, numbered from 0, where rows are to be the sum of one of
            the category's own and one that its department shares (`DepartmentRows`); None: own rows alone.

    Raises:
        ModelError: departments are not one whole number, 0 or more, for each category.
    """
    table = nn.Embedding(categories, width)
    nn.init.normal_(table.weight)
    with torch.no_grad():  # All of length 1: how open a gate starts must not depend on the category.
        table.weight /= table.weight.norm(dim=1, keepdim=True)
    if departments is None:
        return table
    whole = isinstance(departments, list) and all(type(d) is int and d >= 0 for d in departments)
    if not whole or len(departments) != categories or max(departments) >= _MOST_DEPARTMENTS:
        found = f"a list of {len(departments)}" if isinstance(departments, list) else repr(departments)
        raise ModelError(
            f"departments is {found}, expected {categories} whole numbers below {_MOST_DEPARTMENTS}, the "
            "department of each category. Give one for each, or leave departments out."
        )
    parametrize.register_parametrization(table, "weight", DepartmentRows(departments, width))
    return table


class DepartmentRows(nn.Module):
    """A category's row as the sum of its own and its department's; both are learned.

    So a category that is seldom met learns from its neighbours, and attention can tell behaviours of a
    related category from others: dot products of two rows of a department begin near 1/2, of any other two
    near 0. A snapshot adds them up once (`combined`), so that serving costs what it costs without.
    """

    def __init__(self, departments: list[int], width: int) -> None:
        """Draw the departments' rows.

        Args:
            departments: (K,) of each category.
            width: D.
        """
        super().__init__()
        self.of: Tensor
        self.register_buffer("of", torch.tensor(departments), persistent=False)
        drawn = torch.randn(max(departments) + 1, width)
        self.rows = nn.Parameter(drawn / drawn.norm(dim=1, keepdim=True) * 0.5**0.5)

    def forward(self, own: Tensor) -> Tensor:
        """(K, D) own rows to the table's."""
        return own + self.rows[self.of]

    def right_inverse(self, start: Tensor) -> Tensor:
        """Own rows to begin with, of (K, D) rows of length 1.

        They are at right angles to the department's, so that both make up length 1.
        """
        shared = self.rows[self.of]
        apart = start - 2.0 * (start * shared).sum(dim=1, keepdim=True) * shared
        own: Tensor = apart / apart.norm(dim=1, keepdim=True) * 0.5**0.5
        return own


def combined(table: nn.Embedding) -> nn.Embedding:
    """A table with the same rows, of one part; the table itself where it is of one part already."""
    if not parametrize.is_parametrized(table):
        return table
    # torch's remove_parametrizations would change the class, which the table that this is a copy of shares.
    rows, width = table.weight.shape
    return nn.Embedding(rows, width, _weight=table.weight.detach())


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
