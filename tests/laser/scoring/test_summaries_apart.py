"""Summaries made and read apart are the model's own forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ranking_batches import config, random_batch

from laser.batch import RankingBatch
from laser.models import build_model
from laser.scoring.requests import Requests
from laser.scoring.runtime import Scorer
from laser.scoring.snapshot import freeze
from laser.scoring.summaries import SummaryScorer

KEPT: list[tuple[str, dict[str, Any]]] = [
    ("vista", {"seeds": 5}),
    ("vista", {"seeds": 5, "quantise": "int8"}),
    ("vql", {"codes": 8}),
    ("vql", {"codes": 8, "temporal": False}),
]


@pytest.mark.parametrize(("kind", "options"), KEPT)
def test_a_summary_made_before_scores_as_the_whole_model_and_has_the_bytes_it_says(
    kind: str, options: dict[str, Any]
) -> None:
    snapshot = freeze(build_model(config(kind, **options), seed=1))
    batch = random_batch([30, 7, 0], candidate_count=np.array([4, 2, 3]))
    scorer = SummaryScorer(snapshot)
    made = scorer.make(batch)
    names = ("ad", "ad_category", "position", "hour", "propensity", "candidate_count")
    no_history = random_batch([0, 0, 0], **{name: getattr(batch, name).numpy() for name in names})
    assert np.allclose(scorer.score(no_history, made), Scorer(snapshot).score(batch), atol=1e-6)
    alone = scorer.beside([scorer.make(single) for single in apart(batch)])
    assert np.allclose(scorer.score(no_history, alone), Scorer(snapshot).score(batch), atol=1e-6)
    floats = sum(part[0].numel() for part in made)
    expected = 5 * (16 + 4) if "quantise" in options else 4 * floats
    assert snapshot.model.summary_bytes == expected
    assert all(part.dtype is torch.float32 for part in made)


def apart(batch: RankingBatch) -> list[RankingBatch]:
    requests = Requests.of(batch)
    return [requests.part(row, row + 1).batch() for row in range(len(requests))]


@pytest.mark.parametrize(
    ("kind", "options"), [("laser", {}), ("vista", {"short": 5}), ("vql", {"form": "exact"})]
)
def test_a_model_that_needs_more_than_a_summary_is_refused(kind: str, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="cannot be served from summaries alone"):
        SummaryScorer(freeze(build_model(config(kind, **options), seed=1)))
