"""The heads: RankMixer's mixing and sizes, the tower's, and the options that choose them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ranking_batches import config, random_batch
from torch.utils.flop_counter import FlopCounterMode

from laser.models import build_model
from laser.models.heads.rankmixer import MixerLayer, RankMixerHead, mixed_tokens
from laser.operations import multiply_accumulates

T, D = 4, 12


def test_mixing_tokens_is_a_transpose_of_their_pieces() -> None:
    x = torch.arange(T * D).view(1, T, D)
    mixed = mixed_tokens(x)
    for token in range(T):
        for piece in range(T):
            cut = slice(3 * piece, 3 * piece + 3)
            assert torch.equal(mixed[0, token, cut], x[0, piece, 3 * token : 3 * token + 3])
    assert torch.equal(mixed_tokens(mixed), x)
    many = torch.randn(2, 5, T, D)
    assert torch.equal(mixed_tokens(many)[1, 3], mixed_tokens(many[1, 3]))


@pytest.mark.parametrize(("layers", "ratio"), [(1, 2), (3, 4)])
def test_parameters_and_operations_are_the_papers_formulas(layers: int, ratio: int) -> None:
    """2 k L T D^2 weights and 4 k L T D^2 FLOPs per row, without biases and norms."""
    stack = torch.nn.Sequential(*(MixerLayer(T, D, ratio) for _ in range(layers)))
    weights = 2 * ratio * layers * T * D * D
    beside = layers * (T * ratio * D + T * D + 4 * D)
    assert sum(p.numel() for p in stack.parameters()) == weights + beside
    counter = FlopCounterMode(display=False)
    with counter:
        stack(torch.randn(7, T, D))
    assert counter.get_total_flops() == 7 * 2 * weights


def test_a_mixer_layer_is_the_formula() -> None:
    torch.manual_seed(2)
    layer, x = MixerLayer(T, D, 2), torch.randn(3, T, D)
    s = layer.mix_norm(mixed_tokens(x) + x)
    each = [
        torch.nn.functional.gelu(s[:, t] @ layer.up[t] + layer.up_bias[t]) @ layer.down[t]
        + layer.down_bias[t]
        for t in range(T)
    ]
    torch.testing.assert_close(layer(x), layer.feed_norm(torch.stack(each, dim=1) + s))


@pytest.mark.parametrize("kind", ["base", "din", "laser", "transformer", "vql"])
def test_every_model_takes_a_rankmixer_head_and_learns_through_it(kind: str) -> None:
    model = build_model(config(kind, head="rankmixer", head_tokens=4, head_width=16), seed=1)
    assert isinstance(model.head, RankMixerHead)
    batch = random_batch([12, 3, 0])
    before = model(batch)
    assert torch.isfinite(before).all()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    clicks = torch.zeros_like(before)
    clicks[:, 0] = 1.0
    for _ in range(30):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(batch), clicks).backward()
        optimiser.step()
    assert (model(batch)[:, 0].min() > model(batch)[:, 1:].max()).item()


def test_a_tower_has_the_widths_that_were_asked_for() -> None:
    model = build_model(config("din", head="tower", tower=[100, 20, 10]), seed=0)
    assert [tuple(layer.weight.shape) for layer in model.head.layers] == [(20, 100), (10, 20)]  # type: ignore[union-attr]
    assert multiply_accumulates(model, 0, 3) - multiply_accumulates(model, 0, 2) >= 2000 + 200 + 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "large"}, 'head is \'large\', expected "small", "rankmixer" or "tower"'),
        ({"head": "rankmixer", "head_width": 30}, "head_width is 30, expected a multiple of the 4 tokens"),
        ({"head": "rankmixer", "head_layers": 0}, "head_layers is 0, expected a whole number of 1 or more"),
        ({"head": "tower", "tower": [20, 10]}, r"tower is \[20, 10\], expected an input width of 28 or more"),
        ({"short": -1}, "short is -1, expected a whole number of 0 or more"),
    ],
)
def test_heads_that_cannot_be_built_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(config("din", **options), 0)


def test_a_short_sequence_beside_base_reads_so_many_of_the_newest() -> None:
    model = build_model(config("base", short=10), seed=1).eval()
    batch = random_batch([40, 25, 3, 0])
    with torch.inference_mode():
        whole, newest = model(batch), model(batch.newest(10))
        fewer = model(batch.newest(9))
    torch.testing.assert_close(whole, newest)
    assert not torch.allclose(whole[0], fewer[0])
