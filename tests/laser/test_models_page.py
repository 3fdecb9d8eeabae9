"""The example of docs/models.md works as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import torch
from ranking_batches import config, random_batch
from torch import Tensor

from laser.batch import RankingBatch
from laser.models import ModelConfig, RankingModel
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import choose
from laser.models.registry import build_model


def test_the_pages_example_of_a_new_model_scores() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {
        "Any": Any, "ClassVar": ClassVar, "Tensor": Tensor, "RankingBatch": RankingBatch,
        "ModelConfig": ModelConfig, "RankingModel": RankingModel, "KIND_WIDTH": KIND_WIDTH,
        "BehaviourEmbedding": BehaviourEmbedding, "choose": choose,
    }  # fmt: skip
    exec(code, names)
    assert issubclass(names["MeanPool"], RankingModel)
    model = names["MeanPool"](config("mean_pool"))
    assert torch.isfinite(model(random_batch([5, 0, 9]))).all()


def test_every_built_in_kind_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    for kind in ("base", "din", "laser", "counts"):
        build_model(config(kind), seed=0)
        assert kind.lower() in page.lower()
