"""Training the arms' models: one `ModelSpec` each, shared by every arm and ladder step that needs it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laser.checkpoint import load, save
from laser.examples import ExampleSet
from laser.models import ModelConfig, RankingModel
from laser.scoring.runtime import Scorer, resolve_device
from laser.training.calibration import Platt, fit_platt
from laser.training.loop import TrainConfig, train
from laser.training.metrics import auc, gauc, log_loss, pcoc, truth_weighted_auc
from laser.training.presets import recommended
from simulator.config.load import ExperimentConfig, parse_config, to_toml
from simulator.config.settings import Training
from simulator.draws import uniform
from simulator.execution import interrupts
from simulator.execution.checkpoints import TrainingFile, digest_of, ignore, read, write
from simulator.execution.parallel import run_tasks
from simulator.execution.progress import Progress, Silent
from simulator.inputs.prepare import Prepared, prepare
from simulator.serving.arm import LadderStep, build_ladder
from simulator.world.protocol import Sizes

_CHUNK = 64  # requests scored together; fixed, so that logits do not depend on the machine


@dataclass(frozen=True)
class ModelSpec:
    """A model to train, or a checkpoint to load; equal specs are the same model.

    Attributes:
        kind, width, options: see `laser.models.ModelConfig`.
        history: behaviours of the full step.
        training: the arm's training table as sorted (name, value) pairs.
        checkpoint: path of a trained model, or None.
    """

    kind: str
    width: int
    history: int
    options: str
    training: tuple[tuple[str, Any], ...]
    checkpoint: str | None = None

    @property
    def key(self) -> str:
        """A short name, unique among specs; names the checkpoint's file."""
        text = json.dumps([self.kind, self.width, self.history, self.options, self.training, self.checkpoint])
        digest = blake2b(text.encode(), digest_size=4).hexdigest()
        return f"{self.kind.replace(':', '.')}-{self.history}-{digest}"

    @property
    def profile_key(self) -> str:
        """What a service-time profile calls a model of this geometry; weights do not change its cost."""
        options = json.loads(self.options)
        suffix = "".join(f",{name}={options[name]}" for name in sorted(options))
        return f"{self.kind}/{self.width}{suffix}"


@dataclass(frozen=True)
class TrainedModel:
    """A model's checkpoint, its calibration at each history length, and what it scores on held-out log."""

    spec: ModelSpec
    path: Path
    platt: dict[int, Platt]
    metrics: dict[str, float]
    seconds: float = field(compare=False)

    def open(self) -> RankingModel:
        """Load the weights."""
        return load(self.path)[0]


def arm_specs(config: ExperimentConfig, name: str) -> tuple[ModelSpec, ModelSpec | None]:
    """The arm's model, and the light model of its ladder (None where it has none)."""
    arm = config.arms[name]
    main = ModelSpec(
        arm.model,
        arm.width,
        arm.history,
        json.dumps(arm.model_options, sort_keys=True),
        _training(arm.training),
        arm.checkpoint,
    )
    if arm.light_model == "none":
        return main, None
    # The light model is an ordinary one: trained as an arm of its own would be by default.
    return main, ModelSpec(arm.light_model, arm.width, arm.light_history, "{}", _training(Training()))


def arm_ladder(config: ExperimentConfig, name: str) -> tuple[LadderStep, ...]:
    """The arm's ladder; its models are named by their profile keys."""
    main, light = arm_specs(config, name)
    return build_ladder(
        main.profile_key, main.history, light.profile_key if light else None, config.arms[name].light_history
    )


def step_spec(config: ExperimentConfig, name: str, step: LadderStep) -> ModelSpec:
    """The model that answers a step of an arm's ladder (not the prior order, which has none)."""
    main, light = arm_specs(config, name)
    # A light step of the same geometry is the arm's own model on a shorter history.
    return light if light is not None and step.model != main.profile_key else main


def needed_models(config: ExperimentConfig) -> dict[ModelSpec, tuple[int, ...]]:
    """Every model of the experiment once, with the history lengths its ladders ask it for."""
    needed: dict[ModelSpec, set[int]] = {}
    for name in config.arm_names:
        for step in arm_ladder(config, name)[:-1]:
            needed.setdefault(step_spec(config, name, step), set()).add(step.history)
    return {spec: tuple(sorted(lengths)) for spec, lengths in needed.items()}


def train_models(
    config: ExperimentConfig,
    out: Path,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    work: Path | None = None,
) -> dict[ModelSpec, TrainedModel]:
    """Train (or load), calibrate and judge every model of an experiment.

    Calibration and metrics use the held-out log, which is later than the training log and the
    same for every model.

    Args:
        config: the experiment.
        out: folder for the checkpoints.
        jobs: models trained at the same time; each is trained on `torch_threads` threads whatever this is.
        progress: told after each model.
        work: folder of checkpoints: what earlier processes left there is not done again. None keeps nothing.

    Raises:
        CheckpointError: an arm's checkpoint is missing or damaged.
        DeviceError: the device is absent.
    """
    resolve_device(config.experiment.device)
    text = to_toml(config)
    tasks = [_Task(text, spec, lengths, out, work) for spec, lengths in needed_models(config).items()]
    # The longest first: with two jobs, it is what the others wait for.
    tasks.sort(key=lambda task: -task.spec.history)
    trained = run_tasks(_train_one, tasks, jobs, progress or Silent(), "train")
    return {model.spec: model for model in trained}


@dataclass(frozen=True)
class _Task:
    config: str
    spec: ModelSpec
    lengths: tuple[int, ...]
    out: Path
    work: Path | None

    @property
    def path(self) -> Path:
        """The model checkpoint."""
        return self.out / f"{self.spec.key}.ckpt"


def _train_one(task: _Task) -> TrainedModel:
    kept = _kept(task)
    if kept is not None:
        return kept
    config, spec = parse_config(task.config), task.spec
    prepared = prepare(config)
    interrupts.check()
    start_s = time.perf_counter()
    if spec.checkpoint is not None:
        model = _loaded(prepared, spec, Path(spec.checkpoint))
    else:
        model = train(
            model_config(prepared, spec),
            train_config(config, spec),
            prepared.examples["train"],
            config.training_seed,
            keeper=None if task.work is None else TrainingFile(task.work / f"{spec.key}.train"),
        )
    seconds = time.perf_counter() - start_s
    platt, metrics = _judge(model, spec, task.lengths, prepared)
    save(model, task.path, {"key": spec.key, "history": spec.history, "seed": config.training_seed})
    trained = TrainedModel(spec, task.path, platt, metrics, seconds)
    _keep(task, trained)
    return trained


def _keep(task: _Task, trained: TrainedModel) -> None:
    """Note a finished model: the checkpoint's digest, calibration and metrics."""
    if task.work is None:
        return
    meta = {
        "digest": digest_of(trained.path),
        "platt": {str(length): [float(p.scale), float(p.shift)] for length, p in trained.platt.items()},
        "metrics": {name: float(value) for name, value in trained.metrics.items()},
        "seconds": trained.seconds,
    }
    write(task.work / f"{trained.spec.key}.trained", meta, {})


def _kept(task: _Task) -> TrainedModel | None:
    """The model as an earlier process finished it; None where none did, or its checkpoint is damaged."""
    found = None if task.work is None else read(task.work / f"{task.spec.key}.trained")
    if found is None:
        return None
    meta, _ = found
    if not task.path.is_file() or digest_of(task.path) != meta["digest"]:
        ignore(task.path, "it is damaged or missing")
        return None
    platt = {int(length): Platt(*values) for length, values in meta["platt"].items()}
    return TrainedModel(task.spec, task.path, platt, meta["metrics"], meta["seconds"])


def _loaded(prepared: Prepared, spec: ModelSpec, path: Path) -> RankingModel:
    """A checkpoint that is the arm's model, of this world's sizes.

    Raises:
        CheckpointError: it is missing, damaged or another model.
    """
    return load(path, model_config(prepared, spec))[0]


def model_config(prepared: Prepared, spec: ModelSpec) -> ModelConfig:
    """The model in this experiment's world."""
    return sized(prepared.world.sizes, spec)


def sized(sizes: Sizes, spec: ModelSpec) -> ModelConfig:
    """The model in a world of these sizes."""
    return ModelConfig(
        kind=spec.kind,
        categories=sizes.categories,
        ads=sizes.ads,
        scenes=sizes.scenes,
        actions=sizes.actions,
        width=spec.width,
        options=json.loads(spec.options),
    )


def train_config(config: ExperimentConfig, spec: ModelSpec) -> TrainConfig:
    """How the experiment trains a model."""
    chosen = {name: value for name, value in spec.training if value is not None}
    # What the file leaves open is what suits the model: each was tuned on its own.
    base = recommended(spec.kind, spec.history, tuple(chosen.pop("lengths")))
    return replace(base, threads=config.experiment.torch_threads, device=config.experiment.device, **chosen)


def _judge(
    model: RankingModel, spec: ModelSpec, lengths: tuple[int, ...], prepared: Prepared
) -> tuple[dict[int, Platt], dict[str, float]]:
    experiment, holdout = prepared.config.experiment, prepared.examples["holdout"]
    scorer = Scorer(model, experiment.device, experiment.torch_threads)
    logits = {length: holdout_logits(scorer, holdout, length) for length in lengths}
    # Calibrated on one half of the users and judged on the other: on its own rows PCOC is 1 by construction.
    fitted = uniform(prepared.config.seed, "calibration", holdout.user) < 0.5
    platt = {length: fit_platt(values[fitted], holdout.label[fitted]) for length, values in logits.items()}
    full = logits[max(lengths)][~fitted]
    judged = holdout.take(np.flatnonzero(~fitted))
    return platt, model_metrics(full, platt[max(lengths)].apply(full), judged)


def holdout_logits(scorer: Scorer, holdout: ExampleSet, history: int) -> NDArray[np.float32]:
    """Logits of held-out examples, (R, C) float32, on the newest `history` behaviours."""
    rows, chunks = np.arange(len(holdout)), []
    for i in range(0, len(rows), _CHUNK):
        interrupts.check()
        chunks.append(scorer.score(holdout.batch(rows[i : i + _CHUNK], history)))
    return np.concatenate(chunks)


def model_metrics(
    logits: NDArray[np.float32], probabilities: NDArray[np.float64], holdout: ExampleSet
) -> dict[str, float]:
    """AUC, GAUC, log loss, PCOC and, where the truth is known, truth-weighted AUC; see docs/metrics.md."""
    shown = holdout.shown
    groups = np.broadcast_to(holdout.user[:, None], holdout.ad.shape)[shown]
    label, score, probability = holdout.label[shown], logits[shown], probabilities[shown]
    found = {
        "auc": auc(score, label),
        "gauc": gauc(score, label, groups),
        "log_loss": log_loss(probability, label),
        "pcoc": pcoc(probability, label),
    }
    if holdout.p_true is not None:
        found["truth_weighted_auc"] = truth_weighted_auc(score, holdout.p_true[shown])
    return found


def _training(table: Training) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(table.model_dump().items()))
