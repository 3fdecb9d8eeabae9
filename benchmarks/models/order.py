"""Do longer histories rank better, and only where they should? Base, DIN@50 and LASER@1,000.

    python benchmarks/models/order.py [--quick] [--json] [--out FILE]

Three worlds of the preset `quick` and one of `null`. Each model is trained with the settings it was tuned
with (`laser.training.presets`), DIN too; the rankers see the same examples. Truth-weighted AUC counts each
held-out impression as a click with its true probability: the noise of clicks is gone, the world's own
choice of users and requests is not, so gaps are paired and their intervals resample users. `counts` is a
reference that is no arm: a small network on counts of the candidate's category in nested windows.
"""

import time
from typing import Any

import numpy as np

from benchmarks.models.world_files import examples_of, world_config
from benchmarks.result import Measured, bar, main
from laser.examples import ExampleSet
from laser.models import ModelConfig
from laser.scoring.buckets import BucketScorer
from laser.training.loop import train
from laser.training.metrics import auc, gauc, truth_weighted_auc
from laser.training.presets import recommended
from simulator.arms.training import holdout_logits
from simulator.traffic.behaviours import ACTIONS, SCENES

SEED = 7
MODELS = {"base": 0, "din": 50, "laser": 1000, "counts": 1000}
RESAMPLES = 200
Gap = tuple[float, float, float]  # value and 95 % interval, points


def judged(name: str, seed: int, users: int | None) -> tuple[list[dict[str, Any]], dict[str, Gap]]:
    """Train every model on one world; their rows, and the gaps between them."""
    world, made = world_config(name, users), examples_of(name, seed, users)
    holdout = made["holdout"]
    p_true = truth(holdout)
    groups = np.broadcast_to(holdout.user[:, None], holdout.ad.shape).ravel()
    rows, logits = [], {}
    for kind, history in MODELS.items():
        config = ModelConfig(kind, world.categories, world.ads, SCENES, ACTIONS, width=16)
        start_s = time.perf_counter()
        model = train(config, recommended(kind, history), made["train"], seed)
        train_s = time.perf_counter() - start_s
        logits[kind] = holdout_logits(BucketScorer(model), holdout, history)
        flat = logits[kind].ravel()
        rows.append(
            {
                "world": name,
                "seed": seed,
                "model": f"{kind}@{history}",
                "truth_weighted_auc": truth_weighted_auc(flat, p_true.ravel()),
                "auc": auc(flat, holdout.label.ravel()),
                "gauc": gauc(flat, holdout.label.ravel(), groups),
                "train_s": round(train_s, 1),
                "training_impressions": made["train"].label.size,
            }
        )
    rows.append(
        {
            "world": name,
            "seed": seed,
            "model": "truth",
            "truth_weighted_auc": truth_weighted_auc(p_true.ravel(), p_true.ravel()),
        }
    )
    gaps = {
        "laser_over_din": paired_gap(logits["laser"], logits["din"], holdout),
        "din_over_base": paired_gap(logits["din"], logits["base"], holdout),
    }
    for gap, (value, low, high) in gaps.items():
        rows.append({"world": name, "seed": seed, "gap_pt": gap, "value": value, "low": low, "high": high})
    return rows, gaps


def truth(examples: ExampleSet) -> np.ndarray:
    """The true click probabilities, which a generated world has."""
    assert examples.p_true is not None
    return examples.p_true


def paired_gap(one: np.ndarray, other: np.ndarray, holdout: ExampleSet) -> Gap:
    """Difference of truth-weighted AUC in points (0.01), with a 95 % interval over resampled users."""
    p_true = truth(holdout)
    users, at = np.unique(holdout.user, return_inverse=True)
    by_user = np.argsort(at, kind="stable")
    bounds = np.searchsorted(at[by_user], np.arange(len(users) + 1))

    def gap(rows: np.ndarray) -> float:
        p = p_true[rows].ravel()
        return 100 * (truth_weighted_auc(one[rows].ravel(), p) - truth_weighted_auc(other[rows].ravel(), p))

    rng = np.random.default_rng(SEED)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(0, len(users), len(users))
        drawn.append(gap(np.concatenate([by_user[bounds[u] : bounds[u + 1]] for u in chosen])))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return gap(np.arange(len(holdout))), float(low), float(high)


def measure(quick: bool) -> Measured:
    """Three `quick` worlds and a `null` one; with --quick one small world of each."""
    users = 3000 if quick else None
    rows: list[dict[str, Any]] = []
    least: dict[str, float] = {}
    for seed in (SEED,) if quick else (SEED, SEED + 1, SEED + 2):
        found, gaps = judged("quick", seed, users)
        rows += found
        for gap, value in gaps.items():
            least[gap] = min(least.get(gap, np.inf), value[0])
    found, gaps = judged("null", SEED, users)
    rows += found
    _, low, _ = gaps["laser_over_din"]
    bars = [
        bar("least gap of DIN over Base on quick, pt", least["din_over_base"], 0.0),
        bar("least gap of LASER over DIN on quick, pt", least["laser_over_din"], 0.0),
        # LASER gains nothing where interests do not click: the interval's lower end is not above 0.
        bar("lower end of LASER over DIN on null, pt", low, 0.0, better="lower"),
    ]
    return rows, bars


if __name__ == "__main__":
    main("model_order", __doc__, SEED, measure)
