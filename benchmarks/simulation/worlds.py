"""The truth over worlds and trainings where nothing is true: does it cover 0?

    python benchmarks/simulation/worlds.py [--quick] [--json] [--out FILE] [--seeds N] [--jobs N]
        [--one-model]

What `laser-ab truth` says of the world `null`, in which histories do not matter, at a small size: each seed
is a world with models trained in it. The bars: 94 % of the worlds have a lift of ADVV, revenue and CTR within
what users, worlds and trainings together make. With --one-model both arms are DIN, and only how much of the
history it reads differs, 10 behaviours or 60.

CTR stays short of its bar for a reason and not by chance. Of a hundred worlds the mean true lift is -0.6 %,
five of its errors from 0. Where the mean lies half of the worlds' spread from 0, 92 % of them are expected to
cover 0; that near their own mean lay 98 %. A run's A/B is to cover its own truth, not 0.

That the longer model learns noise of a small log is not all of it. With four times the log (`log_requests`
20, 30,000 in all, seeds 100 to 164) the spread halves for ADVV (1.1 to .5 %) and stays for CTR (.9 %),
and the means are above 0: ADVV +.21 (error .06), revenue +.15 (.05), CTR +.30 % (.12); 94, 91 and 95 % of the
worlds cover 0. So a longer log moves what is true, and not to 0: two models, each trained by settings of its
own, differ in more than the history they read.

Nor is 0 true of one model (--one-model, 100 worlds): DIN that reads 60 behaviours instead of 10 has
CTR -.4 (error .08) and revenue -.5 % (.08). What says nothing is not free: it is noise in what the model adds
up, and a model trained on a log without end would leave it out. Coverage of 0 falls short of 94 % by that, in
all three ways, and not by intervals that are too narrow: about their own means the worlds lie as they should.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.result import Measured, bar, options, show
from simulator.config.load import load_config
from simulator.designs.worlds import truth_over_worlds
from simulator.execution.progress import Silent

SEED = 100
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "demo.toml"
#: A world that is made, trained on and served in less than a minute of one core.
SMALL = (
    "traffic.preset=null",
    "traffic.world.users=1500",
    "traffic.world.requests=8000",
    "traffic.world.history_max=60",
    "arms.control.history=10",
    "arms.control.light_model=none",
    "arms.treatment.history=60",
    "arms.treatment.light_model=none",
    "experiment.budget_ms=none",
)
ONE_MODEL = ("arms.treatment.model=din",)
GUARDED = ("advv_per_request", "revenue_per_request", "ctr")


def measure(seeds: int, jobs: int, one_model: bool) -> Measured:
    """Rows by metric and by seed."""
    config = load_config(EXAMPLE, [*SMALL, *(ONE_MODEL if one_model else ())], SEED)
    found = truth_over_worlds(config, range(SEED, SEED + seeds), jobs=jobs, progress=Silent())
    rows, bars = [], []
    for name, own in found["metrics"].items():
        by_seed = own.pop("by_seed")
        rows.append({"part": "pooled", "what": name, "pairing": found["pairing"].get(name), **own})
        rows += [{"part": "seed", "what": name, **one} for one in by_seed]
        if name in GUARDED:
            bars.append(bar(f"{name}_near_0", own["covers_zero"], 0.94))
    return rows, bars


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="worlds")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--one-model", action="store_true", help="both arms are DIN")
    args = parser.parse_args()
    name = "worlds_one_model" if args.one_model else "worlds"
    show(name, SEED, args, measure(4 if args.quick else args.seeds, args.jobs, args.one_model))
