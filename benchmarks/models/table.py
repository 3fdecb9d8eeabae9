"""Every model on the same worlds: how well it ranks, what it costs, and whether the gaps hold.

    python benchmarks/models/table.py --out FILE [--preset full|cpu|cpu-40k] [--worlds quick:1,2,3 null:1]
        [--models ...] [--train-seeds 0,1,2] [--protocols tuned,...] [--departments N] [--seconds S]
        [--device auto] [--json] [--quick]

A cell is one training: (world, world seed, training seed, protocol, model). Cells that FILE holds are not
done again, and FILE is rewritten after each, so that several calls, each of at most --seconds, make one
table; exit status 130 says that cells are missing.

Protocol "tuned": each model with the settings and the start that suit it (`laser.training.presets`). "plain":
one batch and learning rate for all, maps begin at random as the papers' text alone would have it.
"full-rate": tuned, but what a candidate recognises behaviours by learns as fast as all else, not at a tenth.
"departments": tuned, and models know which department a category is of (their option `departments`).

With --departments each row also says how much the model heeds behaviours of categories that are related to
the candidate's, N of a department (`relations.heeds`, `relations.limits`): on a world such as
quick-40-related, and on quick-40, where categories are not related.

Scores are of the held-out days, by the truth ("sauc", truth-weighted AUC) and by the clicks. Gaps are
paired: two models of the same world and training seed. Their t is over worlds, each the mean of its training
    seeds.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.models.cells import Cell, Look, Sizes, World, open_world, trained_row
from benchmarks.models.gaps import REFERENCES, bars_of, gap_rows
from benchmarks.models.relations import heeds, limits
from benchmarks.models.world_files import read
from benchmarks.result import options, result_of, show

SEED = 0
MODELS = ("base", "din", "din-1000", "laser", "sim", "twin", "transformer", "hstu", "stca", "vista", "vql")
PROTOCOLS = ("tuned", "plain", "full-rate", "departments")
FULL = Sizes(None, {"base": 0, "din": 50, "laser": 5000, "hstu": 200}, 1000)
# One core: shorter histories, shorter still for the two whose cost is their square.
CPU = Sizes(4000, {"base": 0, "din": 50, "transformer": 100, "hstu": 100}, 200)
PRESETS = {"full": FULL, "cpu": CPU, "cpu-40k": replace(CPU, users=40_000)}
QUICK = Sizes(600, {"base": 0, "din": 50, "transformer": 50, "hstu": 50}, 100)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = options(__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--worlds", nargs="+", default=["quick:1"], help="preset:seed,seed,...")
    parser.add_argument("--models", type=_words, help="all by default; three with --quick")
    parser.add_argument("--train-seeds", type=_words, default=["0"])
    parser.add_argument("--protocols", type=_words, default=["tuned"])
    parser.add_argument("--departments", type=int, metavar="N", help="categories of a department")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no cell after these")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--drawn", type=Path, help="folder where world_files.py puts worlds, waited for")
    args = parser.parse_args()
    args.models = args.models or (["base", "din", "laser"] if args.quick else list(MODELS))
    args.models = [
        model if args.preset == "full" else model.replace("-1000", "-200") for model in args.models
    ]
    kinds = [model.partition("-")[0] for model in args.models]
    for name, found, known in (
        ("models", kinds, (*MODELS, *REFERENCES)),
        ("protocols", args.protocols, PROTOCOLS),
    ):
        unknown = sorted(set(found) - set(known))
        if unknown:
            parser.error(f"--{name}: found {', '.join(unknown)}, expected some of {', '.join(known)}")
    return args


def cells_of(args: argparse.Namespace) -> Iterator[Cell]:
    """All cells that the command line asks for, world by world."""
    for text in args.worlds:
        name, _, seeds = text.partition(":")
        for world_seed in _words(seeds or "1"):
            for train_seed in args.train_seeds:
                for protocol in args.protocols:
                    for model in args.models:
                        yield Cell(name, int(world_seed), int(train_seed), protocol, model)


def measure(args: argparse.Namespace) -> tuple[list[dict[str, Any]], bool]:
    """The rows of all finished cells, kept ones first, and whether all that were asked for are done."""
    sizes = QUICK if args.quick else PRESETS[args.preset]
    rows = kept_rows(args.out, args)
    done = {Cell.of(row) for row in rows}
    start_s = time.perf_counter()

    @lru_cache(maxsize=1)  # a full world takes 8 GB of the device
    def opened(name: str, seed: int) -> tuple[World, Look | None]:
        made = None if args.drawn is None else read(args.drawn, name, seed)
        world = open_world(name, seed, sizes, args.device, made)
        if args.departments is None:
            return world, None
        held_out = world.held_out.examples
        most = limits(name, seed, sizes.users, held_out)
        return world, lambda model, history: most | heeds(model, held_out, args.departments, history)

    for cell in cells_of(args):
        if cell in done:
            continue
        if time.perf_counter() - start_s > args.seconds:
            return rows, False
        world, also = opened(cell.world, cell.world_seed)
        rows.append(trained_row(cell, world, sizes, args.device, also))
        print(f"{cell}: {rows[-1]['sauc']:.5f}, {rows[-1]['train_s']:.1f} s", file=sys.stderr, flush=True)
        if args.out:
            write(args, rows)
    return rows, True


def kept_rows(path: Path | None, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The cells of an earlier call; gaps are worked out anew."""
    if path is None or not path.exists():
        return []
    found = json.loads(path.read_text())
    preset = "quick" if args.quick else args.preset
    if found["preset"] != preset:
        sys.exit(f"{path} holds the preset {found['preset']}, expected {preset}. Name another --out.")
    return [row for row in found["rows"] if "model" in row]


def write(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """The file as of now; it appears whole."""
    preset = "quick" if args.quick else args.preset
    result = result_of("model_table", SEED, args.quick, [*rows, *gap_rows(rows)], bars_of(rows), args.commit)
    partial = args.out.with_name(f".{args.out.name}.part")
    partial.write_text(json.dumps({**result, "preset": preset}, indent=1) + "\n")
    partial.replace(args.out)


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def command() -> int:
    """Measure what is missing, write, print; 130 where there is more to do."""
    args = parsed()
    rows, complete = measure(args)
    if args.out:
        write(args, rows)
    out, args.out = args.out, None  # `show` would write it without the preset
    show("model_table", SEED, args, ([*rows, *gap_rows(rows)], bars_of(rows)))
    if not complete:
        print(f"More cells are to do; the same command continues {out}.", file=sys.stderr)
    return 0 if complete else 130


if __name__ == "__main__":
    sys.exit(command())
