"""A user's own model that fails, or does not do what a model promises, is named with what was expected."""

import pickle
import random
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from miniature import ACTIONS, SCENES
from ranking_batches import ADS, CATEGORIES, random_batch
from torch import Tensor, nn

from laser.batch import RankingBatch
from laser.errors import LaserError, ModelError, PluginError
from laser.models import ModelConfig, RankingModel, build_model
from laser.scoring.runtime import ScoreError, Scorer
from laser.scoring.trial import small_batch, try_out
from laser.training.loss import summed_loss

WIDTH = 6


class Fair(RankingModel):
    """How often a candidate's category was met; keeps every promise."""

    OPTIONS: ClassVar[dict[str, Any]] = {"sharp": 1.0}

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, attended=WIDTH)
        self.spread = nn.Linear(1, WIDTH)

    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        met = batch.align(batch.category + 1)[:, None, :] == (batch.ad_category + 1)[:, :, None]
        return self.spread(met.sum(-1, keepdim=True).float().log1p())


class Twice(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        return super().attend(batch, target).repeat(1, 1, 2)


class ForAll(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        return super().attend(batch, target).mean(1, keepdim=True)


class OneMore(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        read = super().attend(batch, target)
        return torch.cat([read, read[:1]])


class Double(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        return super().attend(batch, target).double()


class Elsewhere(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        return super().attend(batch, target).to("meta")


class Nothing(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        return None


class Array(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        return super().attend(batch, target).detach().numpy()


class Empty(Fair):
    """A mean over a history that may be empty: 0 / 0."""

    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        return super().attend(batch, target) / batch.lengths.view(-1, 1, 1)


class Fails(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        raise IndexError("no such bucket")


class Leaves(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        sys.exit(0)


class Stop(BaseException):
    """As some libraries end their work: not even an Exception."""


class Stops(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        raise Stop


class OwnForward(Fair):
    def forward(self, batch: RankingBatch) -> Tensor:
        raise IndexError("no such bucket")


class OwnLoss(Fair):
    def auxiliary_loss(self, clicks: Tensor, weights: Tensor) -> Tensor | None:
        raise IndexError("no such bucket")


class NeedsWeights(Fair):
    def __init__(self, config: ModelConfig) -> None:
        raise FileNotFoundError("weights.npz")


class NeedsMore(Fair):
    def __init__(self, config: ModelConfig, depth: int) -> None:
        super().__init__(config)


class Forgets(Fair):
    def __init__(self, config: ModelConfig) -> None:
        nn.Module.__init__(self)


class WritesHistory(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        read = super().attend(batch, target)
        batch.dwell_s.clamp_(max=1.0)
        return read


class WritesRequest(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        batch.propensity.mul_(2.0)
        return super().attend(batch, target)


class Learns(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        self.spread.weight.data *= 1.01
        return super().attend(batch, target)


class Draws(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        read = super().attend(batch, target)
        return read + torch.rand_like(read)


class DrawsElsewhere(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        return super().attend(batch, target) + random.random()


class Watch(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        return super().attend(batch, target) + time.perf_counter_ns() % 10**9 / 1e6


class Counter(Fair):
    calls = 0

    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        self.calls += 1
        return super().attend(batch, target) * self.calls


class Reseeds(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        np.random.seed(1)  # noqa: NPY002 - what the trial is to notice
        return super().attend(batch, target)


class Dtype(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        read = super().attend(batch, target)
        torch.set_default_dtype(torch.float64)
        return read


class Drops(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        return nn.functional.dropout(super().attend(batch, target), 0.5, training=True)


class StaysInTraining(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        self.spread.train()
        return super().attend(batch, target)


class Neighbours(Fair):
    def attend(self, batch: RankingBatch, target: Tensor) -> Any:
        read = super().attend(batch, target)
        return 30.0 * (read - read.mean(0, keepdim=True))


def a_function(config: ModelConfig) -> RankingModel:
    return Fair(config)


def config_of(kind: str, **options: object) -> ModelConfig:
    return ModelConfig(f"{__name__}:{kind}", CATEGORIES, ADS, SCENES, ACTIONS, 8, dict(options))


def scorer_of(kind: str) -> Scorer:
    return Scorer(build_model(config_of(kind), seed=3))


def use(model: RankingModel, batch: RankingBatch, training: bool) -> None:
    if training:
        summed_loss(model, batch, torch.zeros_like(batch.ad, dtype=torch.float32), by_request=False)
    else:
        Scorer(model).score(batch)


def tried(kind: str) -> str:
    scorer = scorer_of(kind)
    with pytest.raises(PluginError) as caught:
        try_out(scorer, random_batch([0, 7, 30]))
    return str(caught.value)


def test_a_model_that_keeps_its_promises_is_tried_in_silence() -> None:
    scorer, batch = scorer_of("Fair"), random_batch([0, 7, 30, 7])
    before = torch.get_rng_state()
    try_out(scorer, batch)
    try_out(scorer, small_batch(config_of("Fair"), history=1))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("Twice", "(3, 4, 12) float32 on cpu"),
        ("ForAll", "(3, 1, 6) float32 on cpu"),
        ("OneMore", "(4, 4, 6) float32 on cpu"),
        ("Double", "(3, 4, 6) float64 on cpu"),
        ("Elsewhere", "(3, 4, 6) float32 on meta"),
        ("Nothing", "a NoneType"),
        ("Array", "a ndarray"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_what_attend_returns_is_compared_with_what_was_promised(
    kind: str, found: str, training: bool
) -> None:
    model, batch = build_model(config_of(kind), seed=3).train(training), random_batch([0, 7, 30])
    with pytest.raises(PluginError) as caught:
        use(model, batch, training)
    said = str(caught.value)
    assert f"{__name__}:{kind}" in said
    assert f"attend returned {found}" in said
    assert "expected (B, C, attended) = (3, 4, 6) float32 on the batch's device, cpu" in said


def test_a_score_that_is_no_number_is_the_plugins_own() -> None:
    with pytest.raises(ScoreError, match=r":Empty' are NaN or infinite.*for empty histories too"):
        scorer_of("Empty").score(random_batch([0, 7]))


@pytest.mark.parametrize("kind", ["Fails", "OwnForward"])
@pytest.mark.parametrize("training", [False, True])
def test_an_exception_in_a_plugin_is_the_plugins_failure(kind: str, training: bool) -> None:
    model, batch = build_model(config_of(kind), seed=3).train(training), random_batch([3])
    with pytest.raises(PluginError) as caught:
        use(model, batch, training)
    said = str(caught.value)
    doing = "training" if training else "scoring"
    assert f":{kind}' raised IndexError while {doing}: no such bucket" in said
    # Where: the file, the line and the statement.
    assert f"{__file__}:" in said
    assert 'raise IndexError("no such bucket")' in said
    assert isinstance(caught.value.__cause__, IndexError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == said


def test_a_loss_of_its_own_that_fails_is_named() -> None:
    model = build_model(config_of("OwnLoss"), seed=3)
    with pytest.raises(PluginError, match=":OwnLoss' raised IndexError while training"):
        summed_loss(model, random_batch([3]), torch.zeros(1, 4), by_request=False)


@pytest.mark.parametrize(("kind", "raised"), [("Leaves", "SystemExit"), ("Stops", "Stop")])
def test_a_plugin_cannot_end_the_program_as_if_all_were_done(kind: str, raised: str) -> None:
    with pytest.raises(PluginError, match=f":{kind}' raised {raised} while scoring"):
        scorer_of(kind).score(random_batch([3]))


def test_ctrl_c_in_the_middle_of_a_plugin_remains_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Fair, "attend", pressed)
    with pytest.raises(KeyboardInterrupt):
        scorer_of("Fair").score(random_batch([3]))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("NeedsWeights", "raised FileNotFoundError while being built: weights.npz"),
        ("NeedsMore", "missing 1 required positional argument: 'depth'"),
        ("Forgets", r"no config.*super\(\).__init__"),
        ("a_function", "expected a subclass of RankingModel"),
        ("Absent", "Expected a class of that name"),
    ],
)
def test_a_model_that_cannot_be_built_says_why(kind: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        build_model(config_of(kind), seed=3)
    assert f"{__name__}:{kind}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import a_library_nobody_has", "needs 'a_library_nobody_has', which cannot be imported"),
        ("1 / 0", "raised ZeroDivisionError while being imported"),
        ("class Mine(:", "raised SyntaxError while being imported"),
    ],
)
def test_a_module_that_does_not_import_says_why(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_ranker.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModelError, match=said):
        build_model(ModelConfig("broken_ranker:Mine", 1, 1, 1, 1), seed=3)


def test_an_option_nobody_declared_is_refused_without_a_line_in_the_plugin() -> None:
    build_model(config_of("Fair", sharp=2.0, head="tower", tower=[64, 8]), seed=3)
    with pytest.raises(ModelError, match=r":Fair' has no option \['shapr'\], expected some of .*'sharp'"):
        build_model(config_of("Fair", shapr=2.0), seed=3)


def test_a_built_in_models_option_of_the_wrong_type_is_the_users_mistake() -> None:
    with pytest.raises(ModelError, match=r"'laser' cannot be built with options {'heads': 'two'}"):
        build_model(ModelConfig("laser", 8, 8, 3, 3, options={"heads": "two"}), seed=3)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("WritesHistory", "it changed dwell_s of the batch"),
        ("WritesRequest", "it changed propensity of the batch"),
        ("Learns", "it changed its weight spread.weight"),
        ("Draws", "it used torch's global generator"),
        ("DrawsElsewhere", "it used Python's global generator"),
        ("Watch", "two scorings of the same batch differ"),
        ("Counter", "two scorings of the same batch differ"),
        ("Reseeds", "it used numpy's global generator"),
        ("Dtype", "it changed torch's default dtype"),
        ("Drops", "it used torch's global generator"),
        ("StaysInTraining", "into training mode"),
        ("Neighbours", "a request scored alone differs"),
    ],
)
def test_a_model_that_is_not_repeatable_is_noticed(kind: str, said: str) -> None:
    message = tried(kind)
    assert f"'{__name__}:{kind}' is not repeatable" in message
    assert said in message
    assert torch.get_default_dtype() is torch.float32


def test_built_in_models_pass_the_trial() -> None:
    for kind in ("base", "din", "laser", "vql"):
        model = build_model(ModelConfig(kind, CATEGORIES, ADS, SCENES, ACTIONS, 8), seed=3)
        try_out(Scorer(model), random_batch([0, 7, 30]))


def test_a_defect_of_ours_is_not_blamed_on_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise ValueError("shapes disagree")

    model = build_model(ModelConfig("din", CATEGORIES, ADS, SCENES, ACTIONS, 8), seed=3)
    monkeypatch.setattr(type(model), "attend", wrong)
    with pytest.raises(ValueError, match="shapes disagree") as caught:
        Scorer(model).score(random_batch([3]))
    assert not isinstance(caught.value, LaserError)
