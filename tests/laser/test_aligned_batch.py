"""A batch with empty places scores, cut and chosen from in every way, as the jagged one does."""

from __future__ import annotations

import pytest
import torch
from ranking_batches import KINDS, config, random_batch

from laser.aligned import AlignedBatch
from laser.batch import HISTORY, RankingBatch
from laser.models import build_model

LENGTHS = [17, 0, 30, 1]


def laid_out(batch: RankingBatch, width: int) -> AlignedBatch:
    """The same requests in `width` places each; empty places hold whatever a valid id is."""
    real = torch.arange(-width, 0) >= -batch.lengths.unsqueeze(1)
    place = (batch.offsets[1:].unsqueeze(1) + torch.arange(-width, 0)).clamp(min=0).flatten()
    return AlignedBatch(
        **{name: getattr(batch, name)[place] for name in HISTORY},
        **{
            name: getattr(batch, name)
            for name in ("ad", "ad_category", "position", "candidate_count", "hour", "propensity")
        },
        offsets=torch.arange(batch.requests + 1) * width,
        longest=width,
        real=real,
    )


OPTIONS: list[dict[str, object]] = [
    {},
    {"short": 5},
]
SWITCHES: list[tuple[str, dict[str, object]]] = [
    ("laser", {"branches": [[0], [1, 2]]}),
    ("laser", {"branches": [[0], [2]], "merge": "gated", "double_every": 2}),
    ("laser", {"query_width": 4, "value_width": 4, "global_width": 4, "gates": "softmax"}),
    ("laser", {"gates": "softmax-sink", "fusion": False}),
    ("vista", {"refresh_s": 21_600.0}),
    ("vista", {"quantise": "int8", "attention": "softmax"}),
    ("vql", {"form": "exact"}),
    ("sim", {"search": "hard"}),
    ("hstu", {"variant": "production"}),
    ("stca", {"order": "keys"}),
    ("din", {"whole": True, "pairs": True}),
    ("base", {"head": "rankmixer"}),
]


@pytest.mark.parametrize(("kind", "options"), [*((k, o) for k in KINDS for o in OPTIONS), *SWITCHES])
def test_empty_places_change_no_score(kind: str, options: dict[str, object]) -> None:
    model = build_model(config(kind, **options), seed=3).eval()
    batch = random_batch(LENGTHS)
    with torch.no_grad():
        assert torch.allclose(model(laid_out(batch, 33)), model(batch), atol=1e-5)


@pytest.mark.parametrize(
    "chosen",
    [
        lambda batch: batch.newest(7),
        lambda batch: batch.only_scenes((0, 2)),
        lambda batch: batch.older(torch.tensor([3e3, 0.0, 2e4, 1e9])),
        lambda batch: batch.older(torch.tensor([3e3, 0.0, 2e4, 0.0])).only_scenes((1,)).newest(3),
    ],
)
def test_choosing_behaviours_leaves_the_same_ones_in_the_same_order(chosen) -> None:  # type: ignore[no-untyped-def]
    batch = random_batch(LENGTHS)
    jagged, aligned = chosen(batch), chosen(laid_out(batch, 33))
    for name in HISTORY:
        kept = [
            column[real]
            for column, real in zip(getattr(aligned, name).view(4, -1), aligned.real, strict=True)
        ]
        assert torch.equal(torch.cat(kept), getattr(jagged, name))
    # Behaviours stand at the newest end, whatever was taken away between them.
    assert (aligned.real.long().diff(dim=1) >= 0).all()
