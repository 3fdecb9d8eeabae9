"""LASER reading feed, video and search separately, as its paper does, against one merged sequence.

    python benchmarks/models/scenes.py [--quick] [--json] [--out FILE]

One world, several training seeds; scores are of the held-out days by the truth ("sauc", truth-weighted AUC).
Gaps are to the merged sequence, paired by training seed, with Student's interval over seeds. "shorter search"
compresses the rare scene less: five behaviours per segment in place of ten. No bar: nothing is promised.
"""

import time
from statistics import mean
from typing import Any

from benchmarks.models.cells import WIDTH, Sizes, World, counts, open_world, scores
from benchmarks.models.real_gaps import seed_interval
from benchmarks.result import Measured, main
from laser.models import ModelConfig
from laser.operations import CANDIDATES
from laser.training.loop import train
from laser.training.presets import recommended
from simulator.traffic.behaviours import ACTIONS, FEED, SCENES, SEARCH, VIDEO

SEED = 1
HISTORY = 200
MERGED = "merged"
EACH: dict[str, Any] = {"branches": [[FEED], [VIDEO], [SEARCH]]}
VARIANTS: dict[str, dict[str, Any]] = {
    MERGED: {},
    "apart": EACH,
    "apart, shorter search": {**EACH, "segment": [10, 10, 5]},
    "apart, mean": {**EACH, "merge": "mean"},
    "apart, gated": {**EACH, "merge": "gated"},
}


def measure(quick: bool) -> Measured:
    """A row for each training, then one for each gap."""
    sizes = Sizes(300 if quick else 1500, {}, HISTORY)
    world = open_world("demo", SEED, sizes, "cpu")
    variants = (MERGED, "apart") if quick else tuple(VARIANTS)
    rows = [trained(world, variant, seed) for variant in variants for seed in range(1 if quick else 5)]
    return [*rows, *gaps(rows)], []


def trained(world: World, variant: str, seed: int) -> dict[str, Any]:
    """Train one variant and measure it."""
    config = ModelConfig("laser", world.categories, world.ads, SCENES, ACTIONS, WIDTH, VARIANTS[variant])
    start_s = time.perf_counter()
    model = train(config, recommended("laser", HISTORY), world.log, seed)
    train_s = time.perf_counter() - start_s
    counted = counts(config.to_json(), HISTORY)
    return {
        "variant": variant,
        "train_seed": seed,
        **scores(model, world, HISTORY, "cpu"),
        "train_s": train_s,
        "params": counted.parameters,
        "macs": counted.by_candidates[CANDIDATES[0]],
    }


def gaps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every variant's gap to the merged sequence, points of truth-weighted AUC."""
    by_variant: dict[str, list[float]] = {}
    for row in rows:
        by_variant.setdefault(row["variant"], []).append(100 * row["sauc"])
    merged = by_variant.pop(MERGED)
    found = []
    for variant, values in by_variant.items():
        each = [one - other for one, other in zip(values, merged, strict=True)]
        interval = seed_interval(each)
        found.append({"gap": f"{variant} - {MERGED}", "pt": mean(each), "over_seeds": interval})
    return found


if __name__ == "__main__":
    main("model_scenes", __doc__, SEED, measure)
