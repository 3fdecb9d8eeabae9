"""SIM's and TWIN's searches against the formulas, walked behaviour by behaviour, one candidate at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ranking_batches import config, random_batch
from torch import Tensor

from laser.attention.retrieval import highest_of_heads, highest_of_heads_plain
from laser.batch import RankingBatch
from laser.models import RankingModel, build_model
from laser.models.history import age_bucket
from laser.models.sim import Sim
from laser.models.target import TargetQuery
from laser.models.twin import Twin


def behaviours(model: Any, batch: RankingBatch, row: int) -> tuple[Tensor, slice]:
    """x_j of one request, (L, E), and where its columns are."""
    own = slice(int(batch.offsets[row]), int(batch.offsets[row + 1]))
    kind = model.history.kind[batch.action[own] * model.history.scenes + batch.scene[own]]
    if model.history.age is not None:
        kind = kind + model.history.age[age_bucket(batch.age_s[own])]
    return torch.cat([model.category.weight[batch.category[own]], kind], dim=1), own


def read(scores: Tensor, found: Tensor, sink: Tensor | None) -> Tensor:
    """Softmax over (A, K) scores, with the entry that reads nothing, of (K, E); and log(1 + K)."""
    if len(found) == 0:
        return found.new_zeros(scores.shape[0] * found.shape[1] + 1)
    powers = scores.exp()
    nothing = 0.0 if sink is None else sink.exp().unsqueeze(1)
    summed = (powers / (powers.sum(dim=1, keepdim=True) + nothing)) @ found
    return torch.cat([summed.flatten(), torch.tensor([float(len(found))]).log1p()])


def by_candidate(model: Any, batch: RankingBatch, of_one: Callable[..., Tensor]) -> Tensor:
    rows = []
    for row in range(batch.requests):
        x, own = behaviours(model, batch, row)
        each = [of_one(model, batch, row, column, x, own) for column in range(batch.candidates)]
        rows.append(torch.stack(each))
    return torch.stack(rows)


def sim_plain(model: Sim, batch: RankingBatch, row: int, column: int, x: Tensor, own: slice) -> Tensor:
    category = batch.ad_category[row, column]
    target = model.category.weight[category]
    if model.search == "hard":
        found = x[batch.category[own] == category][-model.found :]
    else:
        relevance = (x @ model.of_behaviour.T) @ (target @ model.of_target)
        found = x[relevance.argsort(descending=True)[: model.found]]

    def unit_read(unit: TargetQuery, kept: Tensor) -> Tensor:
        return read(torch.einsum("d,ade->ae", target, unit.map) @ kept.T, kept, unit.sink)

    parts = [unit_read(model.exact, found)]
    if model.short is not None:
        parts.append(unit_read(model.short, x[-model.recent :]))
    return torch.cat(parts)


def twin_plain(model: Twin, batch: RankingBatch, row: int, column: int, x: Tensor, own: slice) -> Tensor:
    width = model.config.width
    query = torch.einsum("d,ade->ae", model.category.weight[batch.ad_category[row, column]], model.query.map)
    scores = query @ x[:, :width].T
    kind = model.history.kind[batch.action[own] * model.history.scenes + batch.scene[own]]
    scores = scores + model.beta[:, :1] * (kind @ model.compress[0])
    if model.history.age is not None:
        age = model.history.age[age_bucket(batch.age_s[own])]
        scores = scores + model.beta[:, 1:] * (age @ model.compress[1])
    order = scores.argsort(dim=1, descending=True)
    found: list[int] = []
    for turn in range(len(x)):  # the heads in turn, until there are enough distinct ones
        for head in range(len(scores)):
            place = int(order[head, turn])
            if place not in found and len(found) < model.found:
                found.append(place)
    if model.value is None or model.out is None:
        return read(scores[:, found], x[found], model.query.sink)
    # As published: a value of each found behaviour and head, heads side by side, one map behind them.
    sinks = [None] * len(scores) if model.query.sink is None else list(model.query.sink.split(1))
    heads = [
        read(scores[a : a + 1, found], x[found] @ model.value[a], sinks[a])[:-1] for a in range(len(scores))
    ]
    return torch.cat([model.out(torch.cat(heads)), heads[0].new_tensor([len(found)]).log1p()])


CASES: list[tuple[str, dict[str, Any], Callable[..., Tensor]]] = [
    ("sim", {"found": 6, "recent": 4}, sim_plain),
    ("sim", {"search": "hard", "found": 3, "recent": 0, "time_gap": False}, sim_plain),
    ("sim", {"found": 5, "heads": 1, "query_init": 0.0, "sink": None}, sim_plain),
    ("twin", {"found": 6}, twin_plain),
    ("twin", {"found": 6, "heads": 1, "time_gap": False}, twin_plain),
    ("twin", {"found": 6, "query_init": 0.0, "sink": None}, twin_plain),
    ("twin", {"found": 50}, twin_plain),
    ("twin", {"found": 6, "value_width": 5}, twin_plain),
    ("twin", {"found": 6, "value_width": 5, "sink": None}, twin_plain),
]


@pytest.mark.parametrize(
    ("kind", "options", "plain"), CASES, ids=[f"{kind}-{options}" for kind, options, _ in CASES]
)
def test_a_search_in_one_go_equals_the_walk_in_outputs_and_gradients(
    kind: str, options: dict[str, Any], plain: Callable[..., Tensor]
) -> None:
    model: RankingModel = build_model(config(kind, **options), seed=1).double()
    # Four categories: a candidate's own has more behaviours than a search keeps.
    few = np.random.default_rng(2)
    batch = random_batch(
        [23, 9, 0, 2],
        candidates=3,
        category=few.integers(4, size=34),
        ad_category=few.integers(4, size=(4, 3)),
    )
    fast = model.attend(batch, model.category(batch.ad_category))
    assert fast is not None
    walked = by_candidate(model, batch, plain).to(fast.dtype)
    torch.testing.assert_close(fast, walked, rtol=1e-6, atol=1e-6)
    direction = torch.randn_like(walked)
    leaves = [w for name, w in model.named_parameters() if not name.startswith("head.")]
    both = [torch.autograd.grad(x, leaves, direction, allow_unused=True) for x in (fast, walked)]
    for one, other in zip(*both, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def assert_walks_agree(scores: Tensor, lengths: list[int], k: int) -> None:
    """The walk of each head's first k against the turns of all: the same places, in the same order."""
    real = torch.arange(scores.shape[3]) >= scores.shape[3] - torch.tensor(lengths).unsqueeze(1)
    places, kept = highest_of_heads(scores, real, k)
    of_plain, kept_plain = highest_of_heads_plain(scores, real, k)
    assert places.shape == of_plain.shape
    assert torch.equal(kept, kept_plain)
    assert torch.equal(places[kept], of_plain[kept])
    assert ((places >= 0) & (places < max(scores.shape[3], 1))).all()


@settings(max_examples=150)
@given(
    heads=st.integers(1, 5),
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    padding=st.integers(0, 5),
    k=st.integers(1, 45),
    levels=st.sampled_from([1, 2, 5, 1000]),
    scale=st.sampled_from([1.0, 2.0**-149, 1e30]),  # the second: neighbours among floats
    seed=st.integers(0, 1 << 30),
)
@example(heads=4, lengths=[0], padding=0, k=3, levels=2, scale=1.0, seed=0)  # no behaviours at all
def test_walking_each_heads_first_finds_what_sorting_all_scores_finds(
    heads: int, lengths: list[int], padding: int, k: int, levels: int, scale: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    shape = (len(lengths), 3, heads, max(lengths) + padding)
    # Few levels are many ties, between places and between heads; half of the zeros are -0.
    drawn = draw.integers(levels, size=shape) * scale * draw.choice([-1.0, 1.0], size=shape)
    assert_walks_agree(torch.from_numpy(drawn.astype(np.float32)), lengths, k)
    assert_walks_agree(torch.from_numpy(np.abs(drawn)).to(torch.bfloat16), lengths, k)


def test_heads_that_rank_alike_are_walked_to_the_kth_rank_of_each() -> None:
    alike = torch.randn(2, 3, 1, 300).expand(-1, -1, 4, -1)
    assert_walks_agree(alike, [300, 120], 100)
    assert_walks_agree(alike * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(-1, 1), [300, 120], 100)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_among_ties_what_a_cpu_finds() -> None:
    draw = torch.Generator().manual_seed(1)
    scores = torch.randint(-3, 4, (5, 8, 4, 700), generator=draw).float()
    real = torch.rand(5, 700, generator=draw) < 0.8
    on_gpu = highest_of_heads(scores.cuda(), real.cuda(), 100)
    for found, expected in zip(on_gpu, highest_of_heads(scores, real, 100), strict=True):
        assert torch.equal(found.cpu(), expected)
