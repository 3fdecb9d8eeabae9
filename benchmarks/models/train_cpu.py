"""How fast the demo's models train on one CPU thread, against an earlier commit of this project.

Start at `against`. This file is also what runs in each tree, with nothing but that tree's `laser`: a part of
the demo's log, both models as the demo trains them, then the held-out requests at every length of their
ladders.
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from laser.models import ModelConfig
from laser.training.loop import train
from laser.training.metrics import truth_weighted_auc
from laser.training.presets import recommended

SEED = 7
LENGTHS = (1.0, 0.5, 0.25)  # what the demo's ladders ask for, and what its trainings draw
MODELS = {"din": 50, "laser": 1000}
SHARE, ROUNDS = 0.2, 7
QUICK_SHARE = 0.02
WORSE = 0.001  # of truth-weighted AUC: what a training seed moves on so few requests


def against(tree: Path, quick: bool) -> list[dict[str, Any]]:
    """Rows of both trees by round, in turn, and their ratio.

    Args:
        tree: a checkout of the earlier commit.
    """
    here = Path(__file__).resolve().parents[2]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "demo.pickle"
        data.write_bytes(pickle.dumps(_demo(QUICK_SHARE if quick else SHARE)))
        for round_ in range(1 if quick else ROUNDS):
            for name, place in (("before", tree), ("now", here)):
                environment = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
                said = subprocess.run(
                    [sys.executable, __file__, str(data)],
                    env=environment, check=True, stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
                rows.append({"kind": "train_cpu", "tree": name, "round": round_, **json.loads(said.stdout)})
    return [*rows, ratio(rows)]


def ratio(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many times as fast it is now, by the median of the rounds; None where the models became worse."""
    seconds = {tree: [row["seconds"] for row in rows if row["tree"] == tree] for tree in ("before", "now")}
    pairs = [before / now for before, now in zip(seconds["before"], seconds["now"], strict=True)]
    first, last = rows[:2]
    worst = max(first["models"][kind]["sauc"] - last["models"][kind]["sauc"] for kind in MODELS)
    faster = float(median(pairs)) if worst <= WORSE else None
    return {"kind": "train_cpu ratio", "faster": faster, "rounds": pairs, "sauc_lost_most": worst}


def _demo(share: float) -> dict[str, Any]:
    """The first part of the demo's logs as plain arrays, which every version reads."""
    from simulator.arms.plan import make_plan
    from simulator.config.load import load_config

    demo = load_config(Path(__file__).resolve().parents[2] / "examples" / "demo.toml")
    prepared = make_plan(demo, profiled=False).prepared
    sizes, parts = prepared.world.sizes, {}
    for name in ("train", "holdout"):
        examples = prepared.examples[name]
        parts[name] = dict(vars(examples.take(np.arange(round(share * len(examples))))))
    return {"sizes": (sizes.categories, sizes.ads, sizes.scenes, sizes.actions), "parts": parts}


def _run(data: dict[str, Any]) -> dict[str, Any]:
    """Train and score both models in this process."""
    from laser.examples import ExampleSet

    torch.set_num_threads(1)
    log, holdout = (ExampleSet(**data["parts"][name]) for name in ("train", "holdout"))
    found: dict[str, Any] = {}
    for kind, history in MODELS.items():
        start_s = time.perf_counter()
        config = ModelConfig(kind, *data["sizes"])
        model = train(config, recommended(kind, history, LENGTHS), log, SEED)
        trained_s = time.perf_counter() - start_s
        full, *_ = (_scores(model, holdout, round(history * part)) for part in LENGTHS)
        found[kind] = {
            "train_s": trained_s,
            "held_out_s": time.perf_counter() - start_s - trained_s,
            "sauc": truth_weighted_auc(full, np.asarray(holdout.p_true)),
        }
    total = sum(part["train_s"] + part["held_out_s"] for part in found.values())
    return {"requests": len(log), "held_out": len(holdout), "seconds": total, "models": found}


def _scores(model: Any, holdout: Any, history: int) -> Any:
    """Logits as the tree's own held-out scoring makes them."""
    rows = np.arange(len(holdout))
    try:
        from laser.scoring.buckets import BucketScorer
        from laser.scoring.requests import Requests
    except ImportError:  # before scoring in fixed shapes
        from laser.scoring.runtime import Scorer

        scorer = Scorer(model, "cpu", 1)
        return np.concatenate([scorer.score(holdout.batch(rows[i : i + 64], history)) for i in rows[::64]])
    fixed = BucketScorer(model, "cpu", 1)
    order = fixed.neighbours(holdout.history_end - holdout.history_start, history, holdout.candidates)
    logits = np.empty(holdout.ad.shape, np.float32)
    for i in range(0, len(order), fixed.at_a_time):
        chosen = order[i : i + fixed.at_a_time]
        logits[chosen] = fixed.score(Requests(**holdout.columns(chosen, history)), history).logits
    return logits


if __name__ == "__main__":
    print(json.dumps(_run(pickle.loads(Path(sys.argv[1]).read_bytes()))))
