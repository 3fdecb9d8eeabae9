"""HSTU's fused attention gives what the plain unit gives, gradients included.

The kernels run on a GPU, or on a CPU where triton is installed and TRITON_INTERPRET is 1.
"""

from __future__ import annotations

import pytest
import torch
from interpreted import DEVICE, INTERPRETED, with_kernels
from ranking_batches import config, random_batch
from test_fused_kernels import far, gradients
from torch import Tensor, nn

from laser.batch import RankingBatch
from laser.models import build_model, hstu
from laser.models.hstu import Hstu, Seen, Unit

NEAR = 1e-5 if INTERPRETED else 3e-3  # a GPU multiplies in TensorFloat-32
VARIANTS: list[dict[str, object]] = [{"positions": 256}, {"positions": 9}, {"variant": "production"}]


def model_of(options: dict[str, object]) -> tuple[Hstu, Unit]:
    """A model and its first unit, the tables far enough from 0 to be seen."""
    model = build_model(config("hstu", **options), seed=1).to(DEVICE)
    assert isinstance(model, Hstu)
    unit = model.layers[0]
    assert isinstance(unit, Unit)
    nn.init.constant_(unit.bias, -0.5)
    for table in (unit.of_position, unit.of_time):
        if table is not None:
            nn.init.normal_(table)
    return model, unit


def read_both(
    model: Hstu, unit: Unit, batch: RankingBatch, rows: list[Tensor], patch: pytest.MonkeyPatch
) -> list[Tensor]:
    """What the unit's history reads, plain and fused."""
    real = batch.align(torch.ones_like(batch.category)) > 0
    made = []
    for fuse in (False, True):
        patch.setattr(hstu, "fusing", lambda x, fuse=fuse: fuse)
        places = model._places(batch, real)
        assert isinstance(places.of_history, Seen) == fuse
        made.append(unit._read(rows[0], rows[1], rows[2], places))
    return made


@with_kernels
@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("lengths", [[70, 33, 0], [130, 64], [64, 1], [3]])
def test_fused_attention_is_the_plain_one(
    options: dict[str, object], lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(4)
    model, unit = model_of(options)
    batch = random_batch(lengths, seed=len(lengths)).to(DEVICE)
    # Rows of a wider tensor, as a unit's are; numbers that TensorFloat-32 holds.
    mixed = torch.randn(len(lengths), max(lengths), 2, 30).bfloat16().float().transpose(1, 2).to(DEVICE)
    rows = [part.detach().requires_grad_() for part in mixed.split([12, 12, 6], dim=3)]
    weights = [
        *rows,
        *(w for name, w in unit.named_parameters() if name in ("bias", "of_position", "of_time")),
    ]
    plain, fused = read_both(model, unit, batch, rows, monkeypatch)
    assert far(fused, plain) < NEAR
    for found, expected in zip(gradients(fused, weights), gradients(plain, weights), strict=True):
        assert found.shape == expected.shape
        assert far(found, expected) < NEAR


@with_kernels
@pytest.mark.parametrize("options", [{"all_rows": True}, {"variant": "production", "normaliser": 40}])
def test_a_model_with_fused_attention_has_the_plain_ones_gradients(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = model_of(options)
    batch = random_batch([40, 7, 1]).to(DEVICE)
    leaves = [w for name, w in model.named_parameters() if name.startswith(("layers.", "history."))]
    made = []
    for fuse in (False, True):
        monkeypatch.setattr(hstu, "fusing", lambda x, fuse=fuse: fuse)
        out = model.attend(batch, model.category(batch.ad_category))
        made.append([out, *gradients(out, leaves)])
    for expected, found in zip(*made, strict=True):
        assert far(found, expected) < 10 * NEAR


def test_heads_too_wide_for_the_kernels_are_not_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hstu, "fusing", lambda x: True)
    batch = random_batch([5])
    for width, fuses in ((128, True), (129, False)):
        model, _ = model_of({"key_width": width, "query_init": 0.0})
        places = model.cpu()._places(batch, torch.ones(1, 5).bool())
        assert isinstance(places.of_history, Seen) == fuses


@pytest.mark.parametrize("options", VARIANTS)
def test_nothing_of_a_fused_history_has_its_length_squared(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = model_of(options)
    monkeypatch.setattr(hstu, "fusing", lambda x: True)
    batch = random_batch([50, 20]).to(DEVICE)
    places = model._places(batch, batch.align(torch.ones_like(batch.category)) > 0)
    assert isinstance(places.of_history, Seen)
    assert places.within is None
    assert places.of_history.counts.tolist() == [50, 20]
    held = [places.of_candidates, places.of_own, *(places.behind or ()), *vars(places.of_history).values()]
    assert all(tensor is None or tensor.numel() <= 2 * 50 for tensor in held)
