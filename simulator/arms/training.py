"""Training the arms' models: each `ModelSpec` once, for every arm and ladder step that needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laser.checkpoint import load, save
from laser.examples import ExampleSet
from laser.models import RankingModel
from laser.models.plugins import is_plugin
from laser.scoring.buckets import BucketScorer
from laser.scoring.requests import Requests
from laser.scoring.runtime import Scorer
from laser.scoring.trial import try_out
from laser.training.calibration import Platt, fit_platt
from laser.training.loop import TrainConfig, train
from laser.training.metrics import auc, gauc, log_loss, pcoc_interval, truth_weighted_auc
from laser.training.presets import recommended
from simulator.arms.arm import ModelSpec, needed_models
from simulator.arms.kept import made_by
from simulator.arms.models import TrainedModel, model_config
from simulator.arms.plan import Plan
from simulator.draws import uniform
from simulator.execution import interrupts
from simulator.execution.cache import Cache, open_cache
from simulator.execution.checkpoints import (
    TrainingFile,
    Unusable,
    file_digest,
    inputs_of,
    known,
    read,
    write,
)
from simulator.execution.parallel import Work, run_works
from simulator.execution.progress import Progress, Silent
from simulator.inputs.prepare import Prepared
from simulator.results.files import write_atomic

_TRIED = 8  # held-out requests on which a plug-in must show that its scores are repeatable
#: The stage of models that are found: of a sweep over histories, say, the file's own after a run of it.
KEPT = "kept models"


def train_models(
    plan: Plan,
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
        plan: the experiment.
        out: folder for the checkpoints.
        jobs: models trained at the same time; each is trained on `torch_threads` threads whatever this is.
        progress: notified after each model.
        work: folder of checkpoints: what earlier processes left there is not done again. None keeps nothing.

    Raises:
        CheckpointError: an arm's checkpoint is missing or damaged.
        PluginError: a model of the user's own fails, or does not give the same scores twice.
    """
    (trained,) = train_all([plan], lambda _: out, jobs=jobs, progress=progress, work=work)
    return trained


def train_all(
    plans: Sequence[Plan],
    out: Callable[[Plan], Path],
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    work: Path | None = None,
) -> list[dict[ModelSpec, TrainedModel]]:
    """`train_models` for several experiments: what they have in common is trained once.

    Args:
        plans: the experiments.
        out: each one's folder for checkpoints; shared where they train alike.
    """
    made = trainings(plans, out, work)
    return made.models(run_works(made.works, jobs, progress or Silent()))


@dataclass(frozen=True)
class Trainings:
    """The works by which several experiments get their models, see `run_works`.

    Attributes:
        works: two for each model: its training, which gives its weights, and behind it its calibration. The
            stage of a training says whether there is something to train.
        places: by experiment, where among them each of its models is trained.
    """

    works: list[Work]
    places: list[dict[ModelSpec, int]]

    @property
    def inputs(self) -> list[dict[ModelSpec, str]]:
        """By experiment, the digest of what each model is made from."""
        return [{spec: self.works[place].task.inputs for spec, place in own.items()} for own in self.places]

    def models(self, results: Sequence[TrainedModel]) -> list[dict[ModelSpec, TrainedModel]]:
        """By experiment, its models, of what the works gave."""
        return [{spec: results[place + 1] for spec, place in own.items()} for own in self.places]


def trainings(plans: Sequence[Plan], out: Callable[[Plan], Path], work: Path | None) -> Trainings:
    """What is to be done for the models of several experiments; arguments as in `train_all`."""
    tasks: dict[str, _Task] = {}
    inputs: list[dict[ModelSpec, str]] = []
    for plan in plans:
        # Sent to workers, which need no service times.
        bare = replace(plan, profile=None)
        needed = needed_models(plan.arms)
        inputs.append({spec: _inputs(plan, spec) for spec in needed})
        for spec, lengths in needed.items():
            key = inputs[-1][spec]
            earlier = tasks.get(key)
            every = lengths if earlier is None else tuple(sorted({*lengths, *earlier.lengths}))
            tasks[key] = _Task(bare, spec, every, out(plan), work, key)
    # Kept ones first, for they take no time; then the longest: with two jobs, it is what the others wait for.
    stages = {task.inputs: KEPT if _is_kept(task) else "train" for task in tasks.values()}
    ordered = sorted(tasks.values(), key=lambda task: (stages[task.inputs] != KEPT, -task.spec.history))
    works: list[Work] = []
    for task in ordered:
        works += [
            Work(_train_one, task, stages[task.inputs]),
            Work(_calibrate_one, task, "calibrate", (len(works),)),
        ]
    places = {task.inputs: 2 * index for index, task in enumerate(ordered)}
    return Trainings(works, [{spec: places[key] for spec, key in own.items()} for own in inputs])


def missing(plan: Plan) -> list[ModelSpec]:
    """The models of an experiment that no run has kept: `train_all` would train them and load the rest."""
    works = trainings([plan], lambda _: Path(), Path()).works  # its folders are not looked at
    return [work.task.spec for work in works[::2] if work.stage != KEPT]


@dataclass(frozen=True)
class _Task:
    plan: Plan
    spec: ModelSpec
    lengths: tuple[int, ...]
    out: Path
    work: Path | None
    inputs: str

    @property
    def path(self) -> Path:
        """The model checkpoint."""
        return self.out / f"{self.spec.key}.ckpt"

    def kept_at(self, suffix: str) -> Path | None:
        """Where something of this training is kept; None where nothing is."""
        return None if self.work is None else self.work / f"{self.spec.key}-{self.inputs[:8]}.{suffix}"


def _inputs(plan: Plan, spec: ModelSpec) -> str:
    """The digest of what a trained model is made from."""
    config = plan.config
    loaded = None if spec.checkpoint is None else Path(spec.checkpoint)
    return inputs_of(
        spec=spec,
        checkpoint=None if loaded is None or not loaded.is_file() else file_digest(loaded),
        log=plan.prepared.log_digest,
        seeds=(config.training_seed, config.seed),
        device=plan.device,
        threads=plan.threads,
    )


def _train_one(task: _Task) -> TrainedModel:
    """A model's weights; with its calibration, where an earlier process or another run has made both."""
    found = known(task.kept_at("trained"), task.inputs, partial(_unpacked, task))
    return found or _of_another_run(task) or _trained(task)


def _calibrate_one(task: _Task, model: TrainedModel) -> TrainedModel:
    """A model with its calibration, kept for later processes and other runs."""
    if model.platt:
        return model
    plan = task.plan
    scorer = BucketScorer(model.open(), plan.device, plan.threads)
    platt, metrics = _calibrated(scorer, plan.prepared.examples["holdout"], task.lengths, plan.config.seed)
    made = replace(model, platt=platt, metrics=metrics)
    path = task.kept_at("trained")
    if path is not None:
        write(path, task.inputs, *_packed(made))
    _keep(task, made)
    return made


def _cached(task: _Task) -> tuple[Cache, str] | None:
    """Where other runs find the model: the cache, and the digest there."""
    cache, plan, spec = open_cache(), task.plan, task.spec
    # Whose code is not ours has no version; who gives a model, or wants one trained, wants that one.
    if cache is None or task.work is None or spec.checkpoint is not None or is_plugin(spec.kind):
        return None
    # Not of the lengths: what an arm asks a model for in another experiment trains none.
    return cache, inputs_of(training=task.inputs, made_by=made_by(plan.device))


def _is_kept(task: _Task) -> bool:
    """Whether an earlier process or another run has made the model, or it is given."""
    cached, own = _cached(task), task.kept_at("trained")
    found = cached is not None and cached[0].model_path(cached[1]).is_file()
    return found or task.spec.checkpoint is not None or (own is not None and own.is_file())


def _of_another_run(task: _Task) -> TrainedModel | None:
    """What another run trained from the same inputs; None where none did. Without a calibration where that
    run's is not this one's: it would have other metrics, which are those of the longest history.
    """
    cached = _cached(task)
    if cached is None:
        return None
    cache, digest = cached
    found = read(cache.model_path(digest), digest)
    if found is None:
        return None
    meta, arrays = found
    task.out.mkdir(parents=True, exist_ok=True)
    write_atomic(task.path, lambda file: file.write(arrays["checkpoint"].tobytes()))
    known = {int(length) for length in meta["platt"]}
    if not set(task.lengths) <= known or max(task.lengths) != max(known):
        return TrainedModel(task.spec, task.path, meta["digest"], {}, {}, meta["seconds"])
    return _unpacked(task, meta, arrays)


def _keep(task: _Task, made: TrainedModel) -> None:
    """Let other runs find a model."""
    cached, spec = _cached(task), task.spec
    if cached is None:
        return
    cache, digest = cached
    path, (meta, _) = cache.model_path(digest), _packed(made)
    weights = {"checkpoint": np.frombuffer(task.path.read_bytes(), np.uint8)}
    about = {"model": spec.key, "history": spec.history, "seconds": round(made.seconds, 1)}
    cache.keep_model(path, partial(write, path, digest, meta, weights), about)


def _trained(task: _Task) -> TrainedModel:
    """A model's weights."""
    plan, spec = task.plan, task.spec
    prepared, seed = plan.prepared, plan.config.training_seed
    interrupts.check()
    start_s = time.perf_counter()
    if spec.checkpoint is not None:
        model = _loaded(prepared, spec, Path(spec.checkpoint))
    else:
        state = task.kept_at("train")
        model = train(
            model_config(prepared.world.sizes, spec),
            train_config(plan, spec),
            prepared.examples["train"],
            seed,
            keeper=None if state is None else TrainingFile(state, task.inputs),
        )
    seconds = time.perf_counter() - start_s
    if is_plugin(spec.kind):
        holdout = prepared.examples["holdout"]
        tried = holdout.batch(np.arange(min(len(holdout), _TRIED)), spec.history)
        try_out(Scorer(model, plan.device, plan.threads), tried)
    save(model, task.path, {"key": spec.key, "history": spec.history, "seed": seed})
    return TrainedModel(spec, task.path, file_digest(task.path), {}, {}, seconds)


def _packed(trained: TrainedModel) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    meta = {
        "digest": trained.digest,
        "platt": {str(length): [float(p.scale), float(p.shift)] for length, p in trained.platt.items()},
        "metrics": {name: float(value) for name, value in trained.metrics.items()},
        "seconds": trained.seconds,
    }
    return meta, {}


def _unpacked(task: _Task, meta: dict[str, Any], arrays: object) -> TrainedModel:
    if not task.path.is_file() or file_digest(task.path) != meta["digest"]:
        raise Unusable(f"{task.path} is damaged or missing")
    if not {str(length) for length in task.lengths} <= set(meta["platt"]):
        raise Unusable("it was calibrated for fewer history lengths than are needed now")
    platt = {length: Platt(*meta["platt"][str(length)]) for length in task.lengths}
    return TrainedModel(task.spec, task.path, meta["digest"], platt, meta["metrics"], meta["seconds"])


def _loaded(prepared: Prepared, spec: ModelSpec, path: Path) -> RankingModel:
    """A checkpoint that is the arm's model, of this world's sizes.

    Raises:
        CheckpointError: it is missing, damaged or another model.
    """
    return load(path, model_config(prepared.world.sizes, spec))[0]


def train_config(plan: Plan, spec: ModelSpec) -> TrainConfig:
    """How the experiment trains a model."""
    chosen = {name: value for name, value in spec.training if value is not None}
    # What the file leaves open is what suits the model: each was tuned on its own.
    learned = plan.prepared.examples["train"]
    shown = float(learned.shown.sum()) / max(len(learned), 1) or 1.0
    base = recommended(spec.kind, spec.history, tuple(chosen.pop("lengths")), shown)
    return replace(base, threads=plan.threads, device=plan.device, **chosen)


def _calibrated(
    scorer: BucketScorer, holdout: ExampleSet, lengths: Sequence[int], seed: int
) -> tuple[dict[int, Platt], dict[str, float]]:
    """A calibration for each history length, and the metrics of the longest.

    Args:
        seed: parts the users into two halves for the metrics.
    """
    logits = {length: holdout_logits(scorer, holdout, length) for length in lengths}
    platt = {length: fit_platt(values, holdout.label) for length, values in logits.items()}
    full = logits[max(lengths)]
    # Each half of the users is judged by the other's calibration: by its own PCOC is 1 by construction.
    half = uniform(seed, "calibration", holdout.user) < 0.5
    judged = np.empty(full.shape)
    for mine in (half, ~half):
        judged[mine] = fit_platt(full[~mine], holdout.label[~mine]).apply(full[mine])
    return platt, model_metrics(full, judged, holdout)


def holdout_logits(scorer: BucketScorer, holdout: ExampleSet, history: int) -> NDArray[np.float32]:
    """Logits of held-out examples, (R, C) float32, on the newest `history` behaviours."""
    lengths = holdout.history_end - holdout.history_start
    # Those of one shape together: else each call would end with a part of a batch of every shape.
    order = scorer.neighbours(lengths, history, holdout.candidates)
    logits = np.empty(holdout.ad.shape, np.float32)
    for i in range(0, len(order), scorer.at_a_time):
        interrupts.check()
        rows = order[i : i + scorer.at_a_time]
        logits[rows] = scorer.score(Requests(**holdout.columns(rows, history)), history).logits
    return logits


def model_metrics(
    logits: NDArray[np.float32], probabilities: NDArray[np.float64], holdout: ExampleSet
) -> dict[str, float]:
    """AUC, GAUC, log loss, PCOC with its interval and, where the truth is known, truth-weighted AUC; see
    docs/results.md.
    """
    shown = holdout.shown
    groups = np.broadcast_to(holdout.user[:, None], holdout.ad.shape)[shown]
    label, score, probability = holdout.label[shown], logits[shown], probabilities[shown]
    value, low, high = pcoc_interval(probability, label, groups)
    found = {
        "auc": auc(score, label),
        "gauc": gauc(score, label, groups),
        "log_loss": log_loss(probability, label),
        "pcoc": value,
        "pcoc_low": low,
        "pcoc_high": high,
    }
    if holdout.p_true is not None:
        found["truth_weighted_auc"] = truth_weighted_auc(score, holdout.p_true[shown])
    return found
