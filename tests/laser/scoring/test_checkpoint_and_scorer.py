"""Checkpoints are whole or refused; scores are repeatable; devices and ids are checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ranking_batches import ADS, KINDS, config, random_batch

from laser import checkpoint
from laser.checkpoint import CheckpointError
from laser.models import build_model
from laser.scoring.runtime import DeviceError, Scorer, resolve_device


@pytest.mark.parametrize("kind", [*KINDS, "counts"])
def test_a_loaded_model_scores_bit_for_bit_like_the_saved_one(tmp_path: Path, kind: str) -> None:
    model = build_model(config(kind), seed=3)
    checkpoint.save(model, tmp_path / "a" / "model.laser", {"note": "é", "calibration": [1.5, -0.1]})
    loaded, meta = checkpoint.load(tmp_path / "a" / "model.laser")
    batch = random_batch([30, 4, 0])
    assert meta == {"note": "é", "calibration": [1.5, -0.1]}
    assert loaded.config == model.config
    assert np.array_equal(Scorer(model).score(batch), Scorer(loaded).score(batch))


def test_the_same_model_gives_the_same_bytes_and_no_temporary_file_stays(tmp_path: Path) -> None:
    for name in ("one", "two"):
        checkpoint.save(build_model(config("laser"), seed=3), tmp_path / name, {"x": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_damaged_checkpoint_is_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    path = tmp_path / "model"
    checkpoint.save(build_model(config("din"), seed=3), path, {})
    whole = path.read_bytes()
    for at in (0, 9, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match="Restore the file"):
            checkpoint.load(path)
    for size in (0, 5, 60, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="Restore the file"):
            checkpoint.load(path)
    with pytest.raises(CheckpointError, match="expected a model checkpoint"):
        checkpoint.load(tmp_path / "absent")


def test_scores_repeat_bit_for_bit() -> None:
    scorer = Scorer(build_model(config("laser"), seed=3))
    batch = random_batch([64, 3, 20])
    assert np.array_equal(scorer.score(batch), scorer.score(batch))


@pytest.mark.parametrize(
    ("column", "value"),
    [("category", [99, 0]), ("action", [3, 0]), ("scene", [0, 3]), ("ad", [[0, 0, 0, ADS]])],
)
def test_ids_beyond_the_model_are_refused(column: str, value: list[object]) -> None:
    scorer = Scorer(build_model(config("laser"), seed=3))
    with pytest.raises(ValueError, match=f"{column} holds .*, expected ids below"):
        scorer.score(random_batch([2], **{column: np.asarray(value)}))


def test_an_empty_batch_scores_nothing() -> None:
    assert Scorer(build_model(config("laser"), seed=3)).score(random_batch([])).shape == (0, 4)


def test_devices_resolve_or_say_what_is_missing() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(DeviceError, match='expected "auto", "cpu", "cuda"'):
        resolve_device("tpu")
    with pytest.raises(DeviceError, match=r"is absent: found \d+ GPUs here, expected at least \d+"):
        resolve_device("cuda:99")
    with pytest.raises(ValueError, match="threads is 0"):
        Scorer(build_model(config("base"), 0), threads=0)
