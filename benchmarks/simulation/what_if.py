"""A finished run asked again: what an answer takes when scores are kept.

    python benchmarks/simulation/what_if.py [--quick] [--json] [--out FILE]

The run is that of `one_cell.py`: two arms on 100,000 requests, Base on two lengths, scores drawn. One thread.
An answer is everything: the timing plane of both arms, the A/B and both worlds of the market, users, truth
and scorecard. Questions are asked in turn. The first answer to one makes what later ones share, and stands
beside them (`first_cpu_s`); of three more it is the median, for on a shared machine the same answer takes up
to a quarter more at times.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.result import Measured, bar, main
from benchmarks.simulation.one_cell import EXPERIMENT, REQUESTS_A_USER, keep_drawn_scores
from simulator.arms.plan import make_plan
from simulator.arms.training import train_all
from simulator.config.load import load_config
from simulator.experiment.run import run_experiment
from simulator.whatif.resimulation import Resimulation

SEED = 14
_TIMES = 3
QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("budget", {"experiment.budget_ms": 4.0}),
    ("budget", {"experiment.budget_ms": 2.5}),
    ("traffic", {"traffic.load": 0.4}),
    ("traffic", {"traffic.load": 0.8}),
    ("scorers", {"arms.treatment.scorers": 2}),
    ("scorers", {"arms.treatment.scorers": 3}),
    ("policy", {"arms.treatment.policy": "fifo"}),
    ("reserve", {"market.reserve_ecpm": 5.0}),
)


def finished(requests: int, folder: Path) -> Path:
    """A run of this many requests, its scores drawn."""
    file = folder / "experiment.toml"
    file.write_text(EXPERIMENT.format(requests=requests, users=max(2000, requests // REQUESTS_A_USER)))
    config = load_config(file, [], environment={})
    plan = make_plan(config)
    (trained,) = train_all([plan], lambda _: folder / "models", work=folder / "training")
    keep_drawn_scores(plan, trained)
    return run_experiment(config, folder / "run")


def measure(quick: bool) -> Measured:
    """A row a question, and the bar of the slowest change of budget or traffic."""
    requests = 10_000 if quick else 100_000
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="what-if-") as name:
        folder = Path(name)
        os.environ |= {"LASER_AB_CACHE": str(folder / "cache"), "LASER_AB_CACHE_GB": "10"}
        run = finished(requests, folder)
        began_s = time.process_time()
        held = Resimulation(run)
        opened_s = time.process_time() - began_s
        own_s = _cpu_s(held, {})
        rows.append({"question": "open", "requests": requests, "cpu_s": opened_s, "first_cpu_s": own_s})
        # In turn, as one who looks asks: an answer never follows one to the same question.
        spent = [[_cpu_s(held, change) for _, change in QUESTIONS] for _ in range(_TIMES + 1)]
        for (kind, change), (first_s, *later_s) in zip(QUESTIONS, zip(*spent, strict=True), strict=True):
            cpu_s = median(later_s)
            rows.append(
                {"question": kind, **change, "requests": requests, "cpu_s": cpu_s, "first_cpu_s": first_s}
            )
    slowest = max(row["cpu_s"] for row in rows if row["question"] in ("budget", "traffic"))
    return rows, [bar("answer_cpu_s", slowest * 100_000 / requests, 1.0, 0.4, "lower")]


def _cpu_s(held: Resimulation, change: dict[str, Any]) -> float:
    began_s = time.process_time()
    held.ask(change)
    return time.process_time() - began_s


if __name__ == "__main__":
    main("simulation_what_if", __doc__, SEED, measure)
