"""What the model study trains: tuning trials, the order at the paper's lengths, LASER's ablations, lengths.

A training is named by part, world, world seed, training seed, protocol and name. Lengths are those of LASER's
experiments (arXiv:2602.11562): Base reads 100 behaviours, the others 1,000, and SIM and TWIN search 10,000 or
all that there are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Row = dict[str, Any]
Settings = dict[str, Row]

ALL = 10_000  # behaviours that a search reads; our worlds have some 5,600 at most
#: Model of the study: (kind, behaviours that it reads). Base is the ranker that reads 100 by DIN.
MODELS: dict[str, tuple[str, int]] = {
    "base": ("din", 100),
    "din": ("din", 1000),
    "twin": ("twin", ALL),
    "sim": ("sim", ALL),
    "transformer": ("transformer", 1000),
    "hstu": ("hstu", 1000),
    "laser": ("laser", 1000),
    "stca": ("stca", 1000),
    "vista": ("vista", 1000),
    "vql": ("vql", 1000),
}
TRIALS, KEPT = 12, 4  # on the first tuning world; of them, the first and the best others go on to the rest
FIRST_WORLD, LATER_WORLDS = ("loud", 11), (("loud", 12), ("paper", 11))
WORLDS, WORLD_SEEDS, TRAIN_SEEDS = ("paper", "loud"), (1, 2, 3), (0, 1)
ONCE = ("vista",)  # one training per world: far below the others at the highest cost
_TUNING_SEEDS = tuple(seed for _, seed in (FIRST_WORLD, *LATER_WORLDS))
VARIANT = "variant: "  # begins the names of LASER's variants that are ours
SUMMARY_KEPT = ", summary kept"  # ends those of latencies with a user's summary from a cache
KEY = ("part", "world", "world_seed", "train_seed", "protocol", "name")

#: What trials draw beside rates and the width: strengths of the start, and depth and sizes.
STARTS: dict[str, dict[str, list[Any]]] = {
    "base": {"sharpness": [6.0, 8.0, 12.0], "bias": [-5.0, -3.0, -1.0]},
    "din": {"sharpness": [6.0, 8.0, 12.0], "bias": [-5.0, -3.0, -1.0]},
    "twin": {"query_init": [3.0, 6.0, 10.0], "sink": [3.0, 5.0, 8.0]},
    "sim": {"query_init": [3.0, 6.0, 10.0], "sink": [3.0, 5.0, 8.0]},
    "transformer": {"query_init": [1.0, 1.5, 2.2], "own_bias": [0.0, 2.0, 4.0]},
    "hstu": {"query_init": [1.0, 1.5, 2.2], "score_bias": [-9.0, -6.0, -3.0]},
    "laser": {"gate_init": [6.0, 10.0, 15.0], "gate_bias": [-8.0, -6.0, -3.0]},
    "stca": {"query_init": [1.8, 2.6, 3.6], "sink": [8.0, 12.0, 16.0]},
    "vista": {"query_init": [2.0, 3.0, 4.5], "summary_init": [2.0, 4.0, 6.0]},
    "vql": {"query_init": [4.0, 6.0, 10.0], "sink": [5.0, 8.0, 12.0]},
}
SHAPES: dict[str, dict[str, list[Any]]] = {
    "base": {"hidden": [16, 32, 64]},
    "din": {"hidden": [16, 32, 64]},
    "twin": {"heads": [1, 2, 4]},
    "sim": {"heads": [1, 2, 4]},
    "transformer": {"layers": [1, 2], "ffn": [1, 2]},
    "hstu": {"layers": [1, 2], "variant": ["research", "production"]},
    "laser": {"layers": [1, 2, 3], "ffn": [1, 2, 4]},
    "stca": {"layers": [1, 2, 3]},
    "vista": {"seeds": [64, 128], "target_layers": [1, 2]},
    "vql": {"groups": [1, 2, 4], "codes": [128, 256]},
}
WIDTHS = (16, 32)

#: LASER at 1,000 behaviours with one thing changed: (options, behaviours read).
ABLATIONS: dict[str, tuple[Row, int]] = {
    "no recency": ({"time_gap": False}, 1000),
    "no newest tokens": ({"fusion": ["global", "strongest"]}, 1000),
    "no recency, no newest tokens": ({"time_gap": False, "fusion": ["global", "strongest"]}, 1000),
    "no fusion": ({"fusion": False}, 1000),
    "no FFN + LN": ({"ffn": 0}, 1000),
    "no LN": ({"norm": False}, 1000),
    "softmax gates": ({"gates": "softmax"}, 1000),
    "w = 5": ({"segment": 5}, 1000),
    "w = 20": ({"segment": 20}, 1000),
    "M = 1": ({"layers": 1}, 1000),
    "M = 2": ({"layers": 2}, 1000),
    "M = 3": ({"layers": 3}, 1000),
    "M = 4": ({"layers": 4}, 1000),
    "L = 500": ({}, 500),
    "L = 2000": ({}, 2000),
    "L = 4000": ({}, 4000),
    f"{VARIANT}segments double every 8": ({"double_every": 8, "wide": "mean"}, 1000),
    f"{VARIANT}segments double every 8, L = 4000": ({"double_every": 8, "wide": "mean"}, 4000),
    f"{VARIANT}tied layers": ({"tied": True}, 1000),
    f"{VARIANT}no global reading": ({"fusion": ["strongest", "newest"]}, 1000),
}
#: Models of the judged worlds with one thing changed: (model, options, behaviours read).
WHY_MODELS: dict[str, tuple[str, Row, int]] = {
    "twin, 1,000 searched": ("twin", {}, 1000),
    # Nothing reads the last layer's update of the history: one layer is the candidate's reading alone.
    "hstu, 1 layer": ("hstu", {"layers": 1}, 1000),
    "transformer, 1 layer": ("transformer", {"layers": 1}, 1000),
}
#: On a world changed in one thing: models, and ablations of LASER.
WHY_WORLDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "loud-active": (
        ("laser", "din"), ("no recency", "no fusion", "no FFN + LN", "no LN"),
    ),
    "loud-40": (("base", "twin", "din"), ()),
}  # fmt: skip
#: On small worlds; LASER as tuned is there as "laser, full" of the lengths.
SMALL, FASTER = "quick", ", four times the rate"
SMALL_CHANGES: dict[str, tuple[Row, int]] = {
    "laser": ({}, 1000),
    "softmax gates, w = 20": ({"gates": "softmax", "segment": 20}, 1000),
    "softmax gates with a sink": ({"gates": "softmax-sink"}, 1000),
}
SMALL_ABLATIONS = {
    "quick": (
        "no recency", "softmax gates", "softmax gates, w = 20", "w = 20", "softmax gates with a sink",
        "no LN", f"laser{FASTER}", f"no LN{FASTER}",
    ),
    "fast-drift": ("laser", "no recency"),
}  # fmt: skip
LONG = "loud-10k"
LONG_MODELS = ("laser", "stca")
LONG_HISTORY, LONG_SERVED = 10_000, (500, 1000, 2000, 5000)


@dataclass(frozen=True)
class Training:
    """One training and how it is judged.

    Attributes:
        history: behaviours read when judged. options: the model's, as JSON.
        settings: of the training, as JSON: rate (times the recommended one), table_rate, length_beta, epochs,
            length (behaviours in training where not `history`).
        served: other lengths that the same weights are judged at, each a row "NAME served at LENGTH".
        stage, trial: of the tuning.
    """

    part: str
    world: str
    world_seed: int
    train_seed: int
    protocol: str
    name: str
    model: str
    kind: str
    history: int
    options: str = "{}"
    width: int = 16
    settings: str = "{}"
    served: tuple[int, ...] = ()
    stage: int = 0
    trial: int = 0

    @property
    def key(self) -> tuple[Any, ...]:
        """What names the row."""
        return tuple(getattr(self, name) for name in KEY)

    def __str__(self) -> str:
        return (
            f"{self.part} {self.world}:{self.world_seed} seed {self.train_seed} {self.protocol} {self.name}"
        )


def trial_settings(model: str, trial: int) -> Row:
    """The draws of one trial; the first is what `laser.training.presets` recommends, with nothing changed.

    Both rates are log-uniform, four times either way of the recommended one; all else is drawn evenly.
    """
    if trial == 0:
        return {"options": {}, "width": 16, "rate": 1.0, "table_rate": 0.1}
    rng = np.random.default_rng([list(MODELS).index(model), trial])
    rate, table = (float(np.exp(rng.uniform(-1, 1) * np.log(4.0))) for _ in range(2))
    drawn = {name: _one(rng, values) for name, values in {**STARTS[model], **SHAPES[model]}.items()}
    if drawn.get("variant") == "production":  # its start has its own scale
        drawn["query_init"] = round(drawn["query_init"] * 4 / 3, 2)
        drawn["score_bias"] = round(drawn["score_bias"] * 2 / 3, 2)
    width = WIDTHS[int(rng.integers(len(WIDTHS)))]
    return {"options": drawn, "width": width, "rate": round(rate, 3), "table_rate": round(0.1 * table, 4)}


def _one(rng: np.random.Generator, values: list[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def first_stage(models: tuple[str, ...] = tuple(MODELS)) -> Iterator[Training]:
    """Every model's trials on the first tuning world, dearest models first."""
    for model in reversed(models):
        for trial in range(TRIALS):
            yield _trial(model, trial, 1, *FIRST_WORLD)


def second_stage(rows: list[Row], models: tuple[str, ...] = tuple(MODELS)) -> Iterator[Training]:
    """The first trial and the best others on the other tuning worlds."""
    for world, seed in LATER_WORLDS:
        for model in reversed(models):
            for trial in kept_trials(rows, model):
                yield _trial(model, trial, 2, world, seed)


def kept_trials(rows: list[Row], model: str) -> list[int]:
    """Trial 0, and those of the best scores on the first tuning world."""
    own = [row for row in rows if row["part"] == "tuning" and row["stage"] == 1 and row["model"] == model]
    ranked = sorted(own, key=lambda row: -score(row))
    return [0, *(row["trial"] for row in ranked if row["trial"] != 0)][:KEPT]


def score(row: Row) -> float:
    """What trials are ranked by; a failed training ranks last."""
    return 0.0 if row.get("sauc") is None else float(row["sauc"])


def settings_of(rows: list[Row], models: tuple[str, ...] = tuple(MODELS)) -> Settings:
    """The settings of each model: of the trials that went on, the best mean over all tuning worlds."""
    found = {}
    for model in models:
        means: dict[int, list[float]] = {}
        for row in rows:
            if row["part"] == "tuning" and row["model"] == model:
                means.setdefault(row["trial"], []).append(score(row))
        whole = {trial: sum(s) / len(s) for trial, s in means.items() if len(s) == 1 + len(LATER_WORLDS)}
        if not whole:
            raise ValueError(f"no trial of {model} ran on every tuning world. Run tune1, then tune2.")
        best = max(whole, key=lambda trial: whole[trial])
        found[model] = {**trial_settings(model, best), "trial": best}
    return found


def order(settings: Settings) -> Iterator[Training]:
    """Every model, tuned and plain, on the judged worlds, and what the ablations are compared with."""
    for world, world_seed, train_seed in judged():
        for model in MODELS:
            if model not in ONCE or train_seed == TRAIN_SEEDS[0]:
                yield made(settings, "order", world, world_seed, train_seed, model, model)
        yield Training("order", world, world_seed, train_seed, "tuned", "no history", "no history", "base", 0)
        for name, (model, length) in {"din 50": ("din", 50), "laser 5000": ("laser", 5000)}.items():
            yield made(settings, "order", world, world_seed, train_seed, name, model, history=length)


def plain(settings: Settings) -> Iterator[Training]:
    """Every model untuned: one batch and rate, maps beginning at random."""
    for world, world_seed, train_seed in judged():
        for model, (kind, history) in MODELS.items():
            yield Training(
                "order", world, world_seed, train_seed, "plain", model, model, kind, history,
            )  # fmt: skip


def ablations(settings: Settings) -> Iterator[Training]:
    """LASER with one thing changed, on the judged worlds."""
    for world, world_seed, train_seed in judged():
        for name, (options, history) in ABLATIONS.items():
            yield made(settings, "ablation", world, world_seed, train_seed, name, "laser", options, history)


def lengths(settings: Settings) -> Iterator[Training]:
    """Trained short and served long, against training at full length."""
    for world_seed in WORLD_SEEDS:
        for train_seed in TRAIN_SEEDS:
            for model in LONG_MODELS:
                where = (settings, "length", LONG, world_seed, train_seed)
                yield made(*where, f"{model}, full", model, {}, LONG_HISTORY)
                u_shaped = {"length_beta": [0.1, 0.4]}
                yield made(*where, f"{model}, short", model, {}, LONG_HISTORY, u_shaped, served=LONG_SERVED)
                fixed = {"length": 2000}
                yield made(*where, f"{model}, fixed 2,000", model, {}, LONG_HISTORY, fixed, served=(2000,))
                yield made(*where, f"{model}, base", model, {}, 500)


def why(settings: Settings) -> Iterator[Training]:
    """Explanations put to the test: the world or the model changed in one thing."""
    for world, world_seed, train_seed in judged():
        for name, (model, options, history) in WHY_MODELS.items():
            yield made(settings, "why", world, world_seed, train_seed, name, model, options, history)
    for world, (models, changes) in WHY_WORLDS.items():
        for world_seed in WORLD_SEEDS:
            for train_seed in TRAIN_SEEDS:
                where = (settings, "why", world, world_seed, train_seed)
                for model in models:
                    yield made(*where, model, model)
                for name in changes:
                    yield made(*where, name, "laser", *ABLATIONS[name])


def small(settings: Settings) -> Iterator[Training]:
    """Explanations on worlds small enough for a CPU: 1,000 behaviours at most, a fifth of the log."""
    for world_seed in WORLD_SEEDS:
        where = (settings, "length", SMALL, world_seed, 0)
        u_shaped = {"length_beta": [0.1, 0.4]}
        for model in LONG_MODELS:
            yield made(*where, f"{model}, full", model, {}, 1000)
            yield made(*where, f"{model}, short", model, {}, 1000, u_shaped, (200,))
            thrice = {**u_shaped, "epochs": 3}
            yield made(*where, f"{model}, short, three passes", model, {}, 1000, thrice, (200,))
            yield made(*where, f"{model}, base", model, {}, 50)
        for world, names in SMALL_ABLATIONS.items():
            for name in names:
                options, history = {**ABLATIONS, **SMALL_CHANGES}[name.removesuffix(FASTER)]
                how = {"rate": 4 * settings["laser"]["rate"]} if name.endswith(FASTER) else {}
                yield made(settings, "why", world, world_seed, 0, name, "laser", options, history, how)


def judged() -> Iterator[tuple[str, int, int]]:
    """Worlds, world seeds and training seeds that models are judged on; world by world."""
    for world in WORLDS:
        for world_seed in WORLD_SEEDS:
            for train_seed in TRAIN_SEEDS:
                yield world, world_seed, train_seed


def made(
    settings: Settings,
    part: str,
    world: str,
    world_seed: int,
    train_seed: int,
    name: str,
    model: str,
    options: Row | None = None,
    history: int | None = None,
    training: Row | None = None,
    served: tuple[int, ...] = (),
) -> Training:
    """A tuned model with some options, length or training changed."""
    own, (kind, usual) = settings[model], MODELS[model]
    how = {"rate": own["rate"], "table_rate": own["table_rate"], **(training or {})}
    return Training(
        part, world, world_seed, train_seed, "tuned", name, model, kind,
        usual if history is None else history,
        _text({**own["options"], **(options or {})}), own["width"], _text(how), served,
    )  # fmt: skip


def _trial(model: str, trial: int, stage: int, world: str, seed: int) -> Training:
    own, (kind, history) = trial_settings(model, trial), MODELS[model]
    how = {"rate": own["rate"], "table_rate": own["table_rate"]}
    return Training(
        "tuning", world, seed, 0, "tuned", f"{model}/{trial}", model, kind, history,
        _text(own["options"]), own["width"], _text(how), (), stage, trial,
    )  # fmt: skip


def _text(values: Row) -> str:
    return json.dumps(values, sort_keys=True)


def shrunk(trainings: list[Training]) -> list[Training]:
    """A first look: a twentieth of the history, one seed, and of three models a few trainings each part."""
    found, taken = [], Counter[tuple[str, str, str]]()
    for training in trainings:
        first = training.train_seed == 0 and training.world_seed in (1, *_TUNING_SEEDS)
        if not first or training.model not in ("base", "din", "laser") or training.trial > 1:
            continue
        place = training.part, training.world, training.protocol
        taken[place] += 1
        if taken[place] <= 6:
            settings = json.loads(training.settings)
            if "length" in settings:
                settings["length"] //= 20
            served = tuple(length // 20 for length in training.served)
            history = training.history // 20
            found.append(replace(training, history=history, served=served, settings=_text(settings)))
    return found
