"""What every model promises: padding, batch make-up and candidate order change nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ranking_batches import CATEGORIES, config, random_batch

from laser.batch import RankingBatch
from laser.models import ModelConfig, RankingModel, build_model
from laser.models.base import Base
from laser.models.history import AGE_BUCKETS, age_bucket
from laser.training.presets import GENERIC_START

MODELS = [
    config("base"),
    config("din"),
    config("din", time_gap=False, sharpness=0.0),
    config("counts", windows=[5, 20]),
    config("counts", windows=[5, 20], department=4),
    config("laser", segment=5),
    config("laser", segment=5, gates="softmax"),
    config("laser", segment=5, fusion=False, sink=False),
    config("laser", segment=4, ffn=0, layers=1, time_gap=False),
    config("laser", segment=5, norm=False, recent=2, heads=1),
    config("laser", segment=5, branches=[[0], [1, 2]]),
    config("laser", segment=[4, 7], recent=[2, 3], branches=[[0], [1, 2]], query_width=4),
    config("laser", segment=5, branches=[[0], [1], [2]], merge="mean", fusion=["strongest", "newest"]),
    config("laser", segment=5, branches=[[0], [1, 2]], merge="gated", fusion=["global"]),
    config("laser", segment=5, query_width=4, value_width=3, global_width=4),
    config("laser", segment=5, value_width=3, gates="softmax", global_width=4, sink=False),
    config("laser", segment=5, gates="softmax-sink", gate_kinds=True),
    config("laser", segment=5, query_width=4, gate_kinds=True),
    config("laser", segment=5, fusion=["newest"], gate_init=0.0, gate_noise=0.35),
    config("laser", segment=2, double_every=2),
    config("laser", segment=2, double_every=1, wide="mean", query_width=4),
    config("laser", segment=3, double_every=1, gates="softmax", query_width=4, value_width=3, tied=True),
    config("laser", segment=[2, 4], double_every=1, branches=[[0], [1, 2]], merge="mean", sink=False),
    config("laser", segment=5, head="rankmixer", head_tokens=2, head_width=8, short=6),
    config("din", whole=True, pairs=True),
    config("laser", segment=5, departments=[category // 5 for category in range(CATEGORIES)]),
    config("base", short=10, head="tower", tower=[64, 8]),
    config("sim", found=6, recent=4),
    config("sim", search="hard", found=6, recent=0, time_gap=False),
    config("twin", found=6),
    config("twin", found=6, heads=1, time_gap=False),
    config("twin", found=6, value_width=4),
    config("transformer", layers=2),
    config("transformer", positions=0, time_gap=False, all_rows=True),
    config("hstu"),
    config("hstu", variant="production", layers=1),
    config("hstu", normaliser=40, positions=4),
    config("stca", heads=2, order="absorbed"),
    config("stca", order="keys", layers=3, shared_ffn=True),
    config("stca", fusion=False, identity=False),
    config("vista", seeds=4),
    config("vista", seeds=4, layers=2, target_layers=2, reconstruction=0, quantise="int8", refresh_s=7200.0),
    config("vista", seeds=4, attention="softmax", layers=2),
    config("vista", seeds=4, target_layers=2, heads=2, target_attention="quasi-linear"),
    config("vql", codes=8),
    *(config(kind, **options) for kind, options in GENERIC_START.items() if options),
    config("vql", form="exact", quantised=False, sink=None),
    config("vql", codes=8, form="exact", temporal=False, heads=2),
]
everywhere = pytest.mark.parametrize("model_config", MODELS, ids=lambda c: f"{c.kind}-{c.options}")


def scores(model: RankingModel, batch: RankingBatch) -> torch.Tensor:
    with torch.inference_mode():
        return model(batch)


def single(batch: RankingBatch, row: int) -> RankingBatch:
    first, last = int(batch.offsets[row]), int(batch.offsets[row + 1])
    history = {
        name: getattr(batch, name)[first:last] for name in ("category", "action", "scene", "age_s", "dwell_s")
    }
    names = ("ad", "ad_category", "position", "candidate_count", "hour", "propensity")
    return RankingBatch(
        **history,
        **{n: getattr(batch, n)[row : row + 1] for n in names},
        offsets=torch.tensor([0, last - first]),
    )


@everywhere
def test_padding_and_neighbours_never_move_a_score(model_config: ModelConfig) -> None:
    model = build_model(model_config, seed=1).eval()
    batch = random_batch([23, 0, 7, 40, 1, 20], seed=4)
    together = scores(model, batch)
    assert torch.isfinite(together).all()
    for row in range(batch.requests):
        torch.testing.assert_close(scores(model, single(batch, row))[0], together[row], rtol=1e-5, atol=1e-6)


@everywhere
def test_candidates_do_not_see_each_other(model_config: ModelConfig) -> None:
    model = build_model(model_config, seed=1).eval()
    batch = random_batch([23, 9], candidates=5)
    turned = {name: getattr(batch, name).flip(1) for name in ("ad", "ad_category", "position")}
    flipped = scores(model, RankingBatch(**{**vars(batch), **turned}))
    torch.testing.assert_close(flipped.flip(1), scores(model, batch), rtol=1e-5, atol=1e-6)


@everywhere
def test_candidates_beyond_the_count_score_minus_infinity_and_the_rest_is_unmoved(
    model_config: ModelConfig,
) -> None:
    model = build_model(model_config, seed=1).eval()
    full = random_batch([12, 3], candidates=4)
    cut = random_batch([12, 3], candidates=4, candidate_count=np.array([4, 2]))
    whole, masked = scores(model, full), scores(model, cut)
    assert (masked[1, 2:] == -math.inf).all()
    assert torch.equal(masked[0], whole[0])
    assert torch.equal(masked[1, :2], whole[1, :2])


@everywhere
def test_every_weight_that_a_batch_uses_gets_a_gradient(model_config: ModelConfig) -> None:
    model = build_model(model_config, seed=1)
    logits = model(random_batch([30, 25, 11, 2]))
    beside = model.auxiliary_loss(torch.zeros_like(logits), torch.ones_like(logits))
    (logits.sum() if beside is None else logits.sum() + beside).backward()
    if model_config.kind != "base":
        used = {name for name, weights in model.named_parameters() if weights.grad is not None}
        idle = {name for name, _ in model.named_parameters()} - used
        # Counting needs no table, a bias would cancel in a softmax, exact keys need no codes.
        assert idle <= {"category.weight", "branches.0.gather.bias", "codes"}


@pytest.mark.parametrize("kind", ["din", "laser", "counts"])
def test_history_moves_the_score_of_candidates_it_is_about(kind: str) -> None:
    model = build_model(config(kind), seed=1).eval()
    batch = random_batch([40], ad_category=np.full((1, 4), 7), category=np.full(40, 7))
    other = random_batch([40], ad_category=np.full((1, 4), 7), category=np.full(40, 8))
    assert (scores(model, batch) - scores(model, other)).abs().max() > 1e-3


def test_counts_are_those_of_a_loop_by_category_and_by_department() -> None:
    model = build_model(config("counts", windows=[3, 9], department=4), seed=1).eval()
    batch = random_batch([12, 0, 5])
    found = model.attend(batch, model.category(batch.ad_category))
    assert found is not None
    for b in range(3):
        own = slice(int(batch.offsets[b]), int(batch.offsets[b + 1]))
        behaviours = list(zip(batch.category[own].tolist(), batch.action[own].tolist(), strict=True))
        for c, wanted in enumerate(batch.ad_category[b].tolist()):
            expected = [
                math.log1p(sum(category // n == wanted // n and done == action for category, done in newest))
                for n in (1, 4)
                for newest in (behaviours[-3:], behaviours[-9:])
                for action in range(model.config.actions)
            ]
            assert found[b, c].tolist() == pytest.approx(expected, abs=1e-6)


def test_segments_are_counted_from_the_newest_behaviour() -> None:
    """Dropping the oldest behaviours leaves the newest segments' tokens as they were."""
    model = build_model(config("laser", segment=5, recent=3, layers=0, time_gap=False), seed=1).eval()
    long = random_batch([33], seed=2)
    target = model.category(long.ad_category)
    with torch.inference_mode():
        newest = [model.attend(long.newest(n), target)[..., -3 * 8 :] for n in (33, 32, 17)]
    torch.testing.assert_close(newest[0], newest[1])
    torch.testing.assert_close(newest[0], newest[2])


def test_age_buckets_are_half_powers_of_two() -> None:
    ages = torch.tensor([0.0, 0.5, 1.0, 1.41, 1.42, 2.0, 2.83, 4.0, 1e9, 1e30])
    assert age_bucket(ages).tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 59, AGE_BUCKETS - 1]
    many = torch.logspace(0, 9, 10_001)
    exact = torch.floor(2 * torch.log2(many.double())).long()
    assert (age_bucket(many) - exact).abs().sum() <= 2  # A float32 square may round across a border.


def test_the_same_seed_builds_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(9)
    before = torch.random.get_rng_state()
    one, two, three = (build_model(config("laser"), seed) for seed in (4, 4, 5))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.category.weight, three.category.weight)


def test_a_dotted_path_builds_a_model_and_nonsense_is_refused() -> None:
    assert isinstance(build_model(config("laser.models.base:Base"), 0), Base)
    with pytest.raises(ValueError, match="model kind 'dinn' is unknown, expected one of"):
        build_model(config("dinn"), 0)
    with pytest.raises(ValueError, match="Expected a class of that name"):
        build_model(config("laser.models.base:Missing"), 0)
    with pytest.raises(ValueError, match="expected a subclass of RankingModel"):
        build_model(config("builtins:str"), 0)
    with pytest.raises(ValueError, match=r"no option \['segmnt'\]"):
        build_model(config("laser", segmnt=5), 0)
    with pytest.raises(ValueError, match="width is 0"):
        ModelConfig("base", CATEGORIES, 1, 1, 1, 0)


def test_a_configuration_survives_json() -> None:
    before = config("laser", branches=[[0], [1, 2]])
    assert ModelConfig.from_json(before.to_json()) == before
    with pytest.raises(ValueError, match="not a model configuration"):
        ModelConfig.from_json('{"kind": "din"}')
