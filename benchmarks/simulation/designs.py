"""Designs of an A/B test on a market whose budgets are tight: which of them finds the truth?

    python benchmarks/simulation/designs.py [--quick] [--json] [--out FILE]

What `laser-ab designs examples/tight-budgets.toml` prints, as rows: the truth, how far budgets last, and each
design's bias, own error, coverage and power. The bars: the user split's revenue is shown to be biased, the
budget split's is not, and windows of a day leave nothing of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.result import Measured, bar, main
from simulator.arms.plan import make_plan
from simulator.config.load import load_config
from simulator.designs.bench import served
from simulator.designs.compare import compare_designs
from simulator.designs.layouts import designs
from simulator.designs.words import explained
from simulator.execution.progress import Silent

SEED = 7
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tight-budgets.toml"
REVENUE = "revenue_per_request"


def measure(quick: bool) -> Measured:
    """A hundred re-assignments; quick ones are ten on a smaller world."""
    smaller = ["traffic.world.users=600", "traffic.world.requests=4000", "traffic.world.history_max=60"]
    smaller += ["arms.treatment.history=60"]
    config = load_config(EXAMPLE, smaller if quick else [], SEED)
    asked = designs()
    with served(make_plan(config), None, 1, Silent()) as bench:
        found = compare_designs(bench, asked, 10 if quick else 100)
    return measured(explained(found, asked, config.experiment.primary))


def measured(found: dict[str, Any]) -> Measured:
    """Rows and bars of what `laser-ab designs --json` says."""
    rows: list[dict[str, Any]] = [
        {"part": "choice", "what": found["choice"]["design"], "text": found["choice"]["text"]},
        *({"part": "truth", "what": name, **own} for name, own in found["truth"].items()),
        *({"part": "world", "what": name, **own} for name, own in found["worlds"].items()),
    ]
    for design, own in found["designs"].items():
        rows.append({"part": "sentence", "what": design, "text": own["sentence"]})
        for metric, judged in own.get("metrics", {}).items():
            rows.append({"part": "design", "design": design, "what": metric, "units": own["units"], **judged})
    bars = [
        bar("user_split_bias_in_errors", _distance(found, "user split"), 3.0),
        bar("budget_split_bias_in_errors", _distance(found, "budget split"), 3.0, better="lower"),
        bar("switchback_bias", _own(found, "switchback, 24 h")["interference"], 0.0, better="lower"),
    ]
    return rows, bars


def _distance(found: dict[str, Any], design: str) -> float:
    """The interference's distance from 0, in its standard errors."""
    own = _own(found, design)
    return abs(float(own["interference"])) / max(float(own["interference_se"]), 1e-300)


def _own(found: dict[str, Any], design: str) -> dict[str, Any]:
    own: dict[str, Any] = found["designs"][design]["metrics"][REVENUE]
    return own


if __name__ == "__main__":
    main("designs", __doc__, SEED, measure)
