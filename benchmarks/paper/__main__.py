"""LASER's experiment at full size, the other papers' models as arms of a second one, and what scoring costs.

    python -m benchmarks.paper run     examples/paper.toml: 5 million requests in two arms
    python -m benchmarks.paper second  examples/papers-arms.toml: 2 million requests in five arms
    python -m benchmarks.paper claims  what scoring costs by length and candidates, and how exact a cache is
    python -m benchmarks.paper write   docs/paper.md, of what the three saved in benchmarks/results

`--quick` does the same in minutes on a CPU. `run` and `second` can be done in parts: `--minutes M` stops at
the next checkpoint after M, with exit code 75, and the same command goes on from there. Finished, they write
rows to `--out` and the run made small to `--small`.
"""

import sys
from pathlib import Path

from benchmarks.pages import paper as page
from benchmarks.paper import claims, whole
from benchmarks.result import options, show

SEED = 7


def main() -> int:
    """Parse, and do one part."""
    parser = options(__doc__)
    parser.add_argument("part", nargs="?", choices=(*whole.EXPERIMENTS, "claims", "write"), default="claims")
    parser.add_argument("--folder", type=Path, help="the run folder; runs/PART by default")
    parser.add_argument("--small", type=Path, help="where the run made small is written")
    parser.add_argument(
        "--minutes", type=float, default=600.0, help="stop at the next checkpoint after these"
    )
    parser.add_argument("--jobs", type=int, help="worker processes; the cores by default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting")
    parser.add_argument("--device", default="auto", help="where claims are measured")
    args = parser.parse_args()
    if args.part == "write":
        page.main()
        return 0
    if args.part == "claims":
        show("paper_claims", SEED, args, claims.measure(args.quick, args.device))
        return 0
    experiment = whole.EXPERIMENTS[args.part]
    folder = args.folder or Path("runs") / (experiment.name + ("-quick" if args.quick else ""))
    if not whole.carried_out(experiment, folder, args.quick, args.set, args.minutes, args.jobs):
        print(f"{folder}: stopped after {args.minutes:g} minutes; the same command goes on.", file=sys.stderr)
        return 75
    if args.small is not None:
        whole.shrunk(folder, args.small, args.commit)
    show(f"paper_{args.part}", SEED, args, whole.measured(folder, experiment))
    return 0


if __name__ == "__main__":
    sys.exit(main())
