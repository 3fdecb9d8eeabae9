"""Every model on real exposures: learned from a public log's earlier days, judged by its last one.

    LASER_AB_REAL_DATA=FOLDER python benchmarks/models/real_table.py --out FILE [--quick] [--json]

FOLDER holds `kuairand-pure` (KuaiRand, CC BY-SA 4.0, not included). Every model has the same training: one
batch and learning rate for all, and maps that begin at random (protocol "plain"); "tuned" rows beside them
have what suits each model on simulated worlds (`laser.training.presets`). Gaps are against DIN, paired by
training seed, with intervals over seeds and over users. "midnight": the same exposures and weights,
histories cut at the day's start. References learn nothing, or only count. No bar: the table says what it
says.
"""

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.models.cells import WIDTH, counts, logits_of
from benchmarks.models.real_gaps import gap_row, user_draws
from benchmarks.models.real_log import Exposures, NoLogError, open_log
from benchmarks.result import Measured, main
from laser.models import ModelConfig
from laser.operations import CANDIDATES
from laser.sources import HostSource
from laser.training.config import TrainConfig
from laser.training.loop import train
from laser.training.metrics import auc, gauc, log_loss, pcoc
from laser.training.presets import GENERIC_START, generic, recommended
from simulator.traffic.behaviours import ACTIONS
from simulator.traffic.priors import smoothed_rates

SEED = 0
MODELS = ("base", "din", "sim", "twin", "transformer", "hstu", "laser", "stca", "vista", "vql", "counts")
# Users of the log have at most 69 exposures: every history is read nearly whole.
HISTORY = 64
Row = dict[str, Any]


def measure(quick: bool) -> Measured:
    """Rows of the log, of every training, of the references and of the gaps; there are no bars."""
    try:
        exposures = open_log()
    except NoLogError as error:
        return [{"log": None, "note": str(error)}], []
    models, seeds = (("base", "din", "laser"), (0,)) if quick else (MODELS, (0, 1, 2, 3, 4))
    rows: list[Row] = [exposures.facts, *references(exposures)]
    for protocol in ("plain",) if quick else ("plain", "tuned"):
        rows += protocol_rows(exposures, protocol, models, seeds)
    return rows, []


def protocol_rows(
    exposures: Exposures, protocol: str, models: tuple[str, ...], seeds: tuple[int, ...]
) -> list[Row]:
    """A row for each training, then one for each gap."""
    rows, scores = [], {}
    for model in models:
        for seed in seeds:
            row, scores[model, seed] = trained(exposures, protocol, model, seed)
            rows.append(row)
    labels, users = judged(exposures)
    draws = user_draws(scores, labels, users, SEED)
    aucs = {(row["model"], row["train_seed"]): row["auc"] for row in rows}
    gaps = [gap_row(model, "din", aucs, draws) for model in models if model != "din"]
    return [*rows, *({"protocol": protocol, **gap} for gap in gaps)]


def trained(exposures: Exposures, protocol: str, model: str, seed: int) -> tuple[Row, np.ndarray]:
    """Train a model; its row and its logits of the last day."""
    config, how = chosen(exposures, protocol, model)
    start_s = time.perf_counter()
    learned = train(config, how, exposures.train, seed)
    train_s = time.perf_counter() - start_s
    logits, at_midnight = (
        logits_of(learned, HostSource(examples, torch.device("cpu")), how.history, "cpu")[examples.shown]
        for examples in (exposures.test, exposures.midnight)
    )
    probabilities = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    counted = counts(config.to_json(), how.history)
    labels, users = judged(exposures)
    row = {
        "model": model,
        "protocol": protocol,
        "train_seed": seed,
        "history": how.history,
        "sauc": None,  # the true probabilities of a real log are not known
        **scored(exposures, logits, probabilities),
        "auc_midnight": auc(at_midnight, labels),
        "gauc_midnight": gauc(at_midnight, labels, users),
        "train_s": train_s,
        "params": counted.parameters,
        "macs": counted.by_candidates[CANDIDATES[0]],
    }
    return row, logits.astype(np.float64)


def chosen(exposures: Exposures, protocol: str, model: str) -> tuple[ModelConfig, TrainConfig]:
    """The model and its training by protocol."""
    history = 0 if model == "base" else HISTORY
    plain = protocol == "plain"
    # A request of this log is one exposure; a tuned batch has as many as on the worlds it was found on.
    shown = float(exposures.train.shown.sum(axis=1).mean())
    how = generic(history) if plain else recommended(model, history, shown=shown)
    options = GENERIC_START.get(model, {}) if plain else {}
    sizes = exposures.categories, exposures.ads, exposures.scenes
    return ModelConfig(model, *sizes, ACTIONS, WIDTH, options), how


def references(exposures: Exposures) -> list[Row]:
    """What needs no model: one rate for all, a rate for each item, and the import's regression."""
    train, test = exposures.train, exposures.test
    ad, label = train.ad[train.shown], train.label[train.shown]
    rate = np.full(int(test.shown.sum()), label.mean())
    clicks = np.bincount(ad, weights=label, minlength=exposures.ads)
    items = smoothed_rates(clicks, np.bincount(ad, minlength=exposures.ads))[test.ad[test.shown]]
    rows = [
        {"reference": name, "sauc": None, **scored(exposures, p, p)}
        for name, p in (("constant rate", rate), ("item click rate", items))
    ]
    shown = exposures.facts["regression"]
    regression = {"auc": shown["auc"], "gauc": None, "logloss": shown["log_loss"], "pcoc": shown["pcoc"]}
    return [*rows, {"reference": "regression of the import", "sauc": None, **regression}]


def scored(exposures: Exposures, scores: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Metrics of the last day."""
    label, user = judged(exposures)
    return {
        "auc": auc(scores, label),
        "gauc": gauc(scores, label, user),
        "logloss": log_loss(probabilities, label),
        "pcoc": pcoc(probabilities, label),
    }


def judged(exposures: Exposures) -> tuple[NDArray[Any], NDArray[Any]]:
    """(N,) click and user of each exposure of the last day."""
    shown = exposures.test.shown
    return exposures.test.label[shown], np.broadcast_to(exposures.test.user[:, None], shown.shape)[shown]


if __name__ == "__main__":
    main("model_table_real", __doc__, SEED, measure)
