"""No kernel made for serving reads or writes outside the tensors that it is given, whatever its tiles.

What an interpreter computes with such a read is often right; a GPU answers with an illegal access, or not at
all.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from interpreted import DEVICE, INTERPRETED, Bounds
from ranking_batches import random_batch
from test_serving_kernels import far_served, made

from laser.attention.kernels import Dots, fused

pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered in exp"),
    pytest.mark.skipif(not INTERPRETED, reason="needs triton 3.9 and TRITON_INTERPRET=1"),
]


@pytest.mark.parametrize("units", [None, 32])
@pytest.mark.parametrize("dots", ["tf32x3", "float16"])
def test_lasers_kernels_stay_within_their_tensors(
    units: int | None, dots: Dots, monkeypatch: pytest.MonkeyPatch
) -> None:
    from laser.attention.kernels import segments

    tile = segments.tile

    def of_units(*sizes: Any) -> dict[str, int]:
        found = tile(*sizes)
        return found if units is None else found | {"UNITS": units}

    monkeypatch.setattr(segments, "tile", of_units)
    model = made("laser", 64, segment=10, ffn=1, layers=2)
    batch = random_batch([23, 0, 1], 5).to(DEVICE)
    bounds = Bounds(monkeypatch)
    assert far_served(model, batch, dots) < (2e-5 if dots == "tf32x3" else 2e-2)
    assert bounds.checked > 10_000


def test_a_place_outside_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from laser.attention.kernels.segments import segment_tokens

    model, batch = made("laser", segment=10, heads=1), random_batch([7], 3).to(DEVICE)
    Bounds(monkeypatch)
    with torch.inference_mode(), fused("tf32x3"):
        model.multiply_out()
        (served,) = model._served  # type: ignore[union-attr,misc]
        about, how, first = served.places(batch)  # type: ignore[operator]
        beyond = torch.full_like(about, len(served.tables[0]))
        with pytest.raises(Exception, match="outside every tensor"):
            segment_tokens(
                model.category(batch.ad_category), (beyond, how, first), 10, served.tables, served.net
            )
