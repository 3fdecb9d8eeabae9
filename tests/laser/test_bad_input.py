"""What a model does with input and files that are not as they should be: a clear error, or a stated
default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ranking_batches import KINDS, config, random_batch

from laser import checkpoint
from laser.checkpoint import CheckpointError
from laser.models import build_model
from laser.scoring.runtime import Scorer
from laser.scoring.snapshot import ScoreError

every_kind = pytest.mark.parametrize("kind", [*KINDS, "counts"])


@every_kind
def test_histories_longer_than_any_trained_on_and_empty_ones_score(kind: str) -> None:
    scorer = Scorer(build_model(config(kind), seed=3))
    scores = scorer.score(random_batch([700, 0, 1]))
    assert np.isfinite(scores).all()
    empty = scorer.score(random_batch([0, 0]))
    assert np.isfinite(empty).all()


def test_behaviours_beyond_the_known_positions_share_the_last_one() -> None:
    model = build_model(config("transformer", positions=4, time_gap=False), seed=3).eval()
    history = torch.zeros(1, 9, 16)
    placed = model.positions(history)[0]  # type: ignore[operator]
    assert torch.equal(placed[:5], placed[5].expand(5, -1))
    assert not torch.equal(placed[5], placed[6])


@every_kind
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_broken_weight_anywhere_and_nothing_is_scored(kind: str, value: float) -> None:
    model = build_model(config(kind), seed=3)
    for name, weights in model.named_parameters():
        kept = weights.detach().clone()
        with torch.no_grad():
            weights.view(-1)[weights.numel() // 2] = value
        with pytest.raises(ScoreError, match=f"{name} of model '{kind}' holds NaN or infinity"):
            Scorer(model)
        with torch.no_grad():
            weights.copy_(kept)
    assert np.isfinite(Scorer(model).score(random_batch([5, 0, 2]))).all()


@every_kind
def test_weights_too_large_for_a_finite_score_are_never_silent(kind: str) -> None:
    model = build_model(config(kind), seed=3)
    with torch.no_grad():
        model.head.category.weight.fill_(1e38)
        model.head.out.weight.fill_(1e38)
    cut = random_batch([5, 0, 2], candidate_count=np.array([4, 2, 4]))
    with pytest.raises(ScoreError, match=f"of 12 scores of model '{kind}' are NaN or infinite"):
        Scorer(model).score(cut)
    assert (Scorer(build_model(config(kind), seed=3)).score(cut)[1, 2:] == -np.inf).all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("category", -1, "category holds -1, expected ids below 30 and of 0 or more"),
        ("action", -2, "action holds -2"),
        ("scene", 7, "scene holds 7, expected ids below 3"),
        ("ad", -1, "ad holds -1"),
        ("ad_category", 30, "ad_category holds 30, expected ids below 30"),
        ("age_s", -0.5, "age_s spans -0.5 .* A negative age means a behaviour later than the request"),
        ("age_s", float("nan"), "age_s spans nan to nan, expected finite seconds"),
        ("age_s", float("inf"), "expected finite seconds"),
    ],
)
def test_a_batch_made_of_tensors_is_checked_before_it_is_scored(
    column: str, value: float, message: str
) -> None:
    batch = random_batch([5, 2])
    getattr(batch, column).view(-1)[1] = value
    with pytest.raises(ValueError, match=message):
        Scorer(build_model(config("laser"), seed=3)).score(batch)


def test_a_model_with_nan_is_neither_saved_nor_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(config("laser"), seed=3)
    with torch.no_grad():
        model.category.weight[3, 1] = float("nan")
    path = tmp_path / "model"
    with pytest.raises(CheckpointError, match=r"category.weight holds NaN .* Nothing was written"):
        checkpoint.save(model, path, {})
    assert not path.exists()
    with monkeypatch.context() as unchecked:
        unchecked.setattr(checkpoint, "_check_finite", lambda *_: None)
        checkpoint.save(model, path, {})
    with pytest.raises(CheckpointError, match=r"category.weight holds NaN .* train the model again"):
        checkpoint.load(path)


def test_a_checkpoint_of_another_schema_is_refused_and_one_without_a_number_is_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    with monkeypatch.context() as later:
        later.setattr(checkpoint, "SCHEMA", 9)
        checkpoint.save(build_model(config("din"), seed=3), path, {})
    with pytest.raises(CheckpointError, match="schema 9, expected 1"):
        checkpoint.load(path)
    dumps = json.dumps

    def without_schema(value: Any, **options: Any) -> str:
        return dumps({k: v for k, v in value.items() if k != "schema"}, **options)

    with monkeypatch.context() as before:
        before.setattr("laser.checkpoint.json.dumps", without_schema)
        before.setattr(type(build_model(config("din"), 0).config), "to_json", lambda self: dumps(vars(self)))
        checkpoint.save(build_model(config("din"), seed=3), path, {})
    assert checkpoint.load(path)[0].config == config("din")


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (config("laser"), "found a model with kind 'din' .expected 'laser'"),
        (config("din", width=4), "found a model with width 8 .expected 4"),
        (config("din", hidden=7), "options .*hidden"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path, expected: Any, message: str) -> None:
    path = tmp_path / "model"
    checkpoint.save(build_model(config("din"), seed=3), path, {})
    assert checkpoint.load(path, config("din"))[0].config == config("din")
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path, expected)
