"""What the same two rankers are worth in other markets: true lifts of ADVV and revenue, and budgets spent.

    python benchmarks/simulation/markets.py [--run RUN] [--quick] [--json] [--out FILE]

The run is the demo's, made first unless a finished one is given. Rankings, users and clicks stay; the market
alone is simulated again, without a deadline, so that every answer has full history. The number of candidates
and of advertisers belongs to the world: each of these rows is a run of its own. Other candidates leave users,
log and trained models as they are, other advertisers do not. Errors are the truth's own, over users and paths
of clicks.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.result import Measured, bar, options, show
from simulator.config.load import ExperimentConfig, changed, load_config
from simulator.experiment.run import run_experiment
from simulator.results.read import read_run
from simulator.whatif.resimulation import Resimulation

SEED = 7
DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.toml"
FREE = {"market.budgets": "unlimited"}
AFFINITY = {"market.pcvr": "affinity"}


def reserve(ecpm: int) -> dict[str, Any]:
    """A reserve, as a setting."""
    return {"market.reserve_ecpm": float(ecpm)}


MARKETS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("as shipped", {}),
    ("budgets unlimited", FREE),
    *((f"unlimited, reserve eCPM {ecpm}", FREE | reserve(ecpm)) for ecpm in (50, 100, 200, 400)),
    ("unlimited, first price", FREE | {"market.pricing": "first"}),
    ("unlimited, charge per conversion", FREE | {"market.charge": "conversion"}),
    ("unlimited, pCVR by affinity", FREE | AFFINITY),
    ("unlimited, pCVR by affinity, reserve eCPM 100", FREE | AFFINITY | reserve(100)),
    ("budgets of a fifth of the spend, no least", {"market.budget_tau": -1.6, "market.budget_clicks": 0.0}),
)
#: Asked with a run of their own; the demo has 32 candidates a request and 200 advertisers.
WORLDS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(
        (f"unlimited, {candidates} candidates", FREE | {"traffic.world.candidates": candidates})
        for candidates in (4, 8, 16)
    ),
    ("20 advertisers, daily budgets", {"traffic.world.advertisers": 20}),
)
FULL_HISTORY = {"experiment.budget_ms": "none"}
QUICK = ("traffic.world.users=300", "traffic.world.requests=1500", "traffic.world.history_max=200")


def measure(run: Path, quick: bool) -> Measured:
    """A row a market, and the bar on what default budgets cost."""
    held = Resimulation(run)
    rows = [_row(name, change, held.ask(FULL_HISTORY | change).scorecard) for name, change in MARKETS]
    rows += [_row(name, change, _world(change, quick)) for name, change in WORLDS]
    return rows, [bar("revenue_lost", rows[0]["revenue_lost"], 0.02, better="lower")]


def _row(name: str, change: dict[str, Any], card: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"market": name, "settings": change}
    for metric in ("advv_per_request", "revenue_per_request", "ctr"):
        entry = card["metrics"][metric]
        row |= {metric: entry["true_lift"], f"{metric}_se": entry["true_se"]}
    return row | {key: card["market"][key] for key in ("exhausted_share", "revenue_lost")}


def _world(change: dict[str, Any], quick: bool) -> dict[str, Any]:
    """The scorecard of a run in another world."""
    with TemporaryDirectory(prefix="markets-") as folder:
        config = changed(_demo(quick), FULL_HISTORY | change, "markets")
        card = read_run(run_experiment(config, Path(folder) / "run")).scorecard
    assert card is not None, "a finished run has a scorecard"
    return card


def _demo(quick: bool) -> ExperimentConfig:
    return load_config(DEMO, [*QUICK, "arms.treatment.history=200"] if quick else [], environment={})


def main() -> None:
    """Measure on a given run, or on one made for it."""
    parser = options(__doc__)
    parser.add_argument("--run", type=Path, help="a finished run of examples/demo.toml")
    args = parser.parse_args()
    if args.run:
        show("simulation_markets", SEED, args, measure(args.run, args.quick))
        return
    with TemporaryDirectory(prefix="markets-") as folder:
        run = run_experiment(_demo(args.quick), Path(folder) / "run")
        show("simulation_markets", SEED, args, measure(run, args.quick))


if __name__ == "__main__":
    main()
