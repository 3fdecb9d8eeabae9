"""`laser-ab validate`: the certificate, for any parameters."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.commands.options import Json

if TYPE_CHECKING:
    from simulator.certificate.rows import Row
    from simulator.config.settings import Engine

Replications = Annotated[
    int, typer.Option("--replications", min=100, max=1_000_000, help="Simulated experiments of each claim.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the draws.")]


def inference(
    replications: Replications = 2_000,
    users: Annotated[int, typer.Option("--users", min=20, max=100_000, help="Of an arm.")] = 200,
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Check intervals and tests: published vectors, errors, coverage, power."""
    from simulator.certificate.inference import inference_rows

    show(inference_rows(replications, users, seed), as_json)


def auction(
    auctions: Annotated[
        int, typer.Option("--auctions", min=1_000, max=10_000_000, help="Of each kind.")
    ] = 100_000,
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Check the market against auction theory: revenue, reserve prices, budgets."""
    from simulator.certificate.auction import auction_rows

    show(auction_rows(auctions, seed), as_json)


def queueing(
    servers: Annotated[int, typer.Option("--servers", min=1, max=100, help="That serve at once.")] = 1,
    load: Annotated[float, typer.Option("--load", min=0.001, max=100.0, help="Erlangs.")] = 0.8,
    patience: Annotated[
        float | None,
        typer.Option("--patience", min=0.0, max=1e6, help="Mean service times waited before leaving."),
    ] = None,
    cv2: Annotated[
        float, typer.Option("--cv2", min=0.0, max=100.0, help="Squared variation of service; 1 exponential.")
    ] = 1.0,
    customers: Annotated[
        int, typer.Option("--customers", min=1_000, max=10_000_000, help="Of each of ten runs.")
    ] = 100_000,
    engine: Annotated[str, typer.Option("--engine", help="compiled or simpy.")] = "compiled",
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Check the timing plane against queueing theory: M/M/c, M/G/1, M/M/1 with patience.

    Where too few customers are simulated to tell, a row is marked "?" and says how many would do; its `ok` is
    false, as no claim was shown to hold, and `untold` says why.
    """
    from simulator.certificate.queueing import queueing_rows
    from simulator.certificate.queues import Queue

    if engine not in ("compiled", "simpy"):
        raise typer.BadParameter(f"found {engine!r}, expected compiled or simpy", param_hint="--engine")
    by: Engine = "simpy" if engine == "simpy" else "compiled"
    show(queueing_rows(Queue(servers, load, patience, cv2), customers, by, seed), as_json)


def faults(
    replications: Annotated[
        int, typer.Option("--replications", min=5, max=100_000, help="Simulated tests of each fault.")
    ] = 100,
    users: Annotated[int, typer.Option("--users", min=500, max=1_000_000, help="Of an arm.")] = 10_000,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Put them into the logs of this run's users, split at random, instead."),
    ] = None,
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Check that faults an experimenter meets are found and told apart, and that sound tests are let be."""
    from simulator.certificate.faults import fault_rows

    logs = None
    if run is not None:
        from simulator.analysis.health.folder import logs_of_run
        from simulator.results.read import read_run

        logs = logs_of_run(read_run(run))
    show(fault_rows(replications, users, seed, logs), as_json)


def show(rows: "Iterable[Row]", as_json: bool) -> None:
    """Print the rows; exit 1 where one fails, or cannot be told."""
    found = list(rows)
    if as_json:
        from simulator.commands.output import print_json

        print_json({"rows": [row.as_json() for row in found]})
    else:
        width = max(len(row.name) for row in found)
        for row in found:
            theory = "" if row.theory is None else f"  theory {row.theory:.6g}"
            bounds = f"{row.low:.6g} to {row.high:.6g}"
            mark = "?" if row.untold else "✓" if row.ok else "✗"
            print(f"{mark} {row.name:<{width}}  {row.simulated:.6g}  expected {bounds}{theory}")
        for why in dict.fromkeys(row.untold for row in found if row.untold):
            print(f"Too short to tell: {why}. Raise --customers, or ask of another queue.")
    if not all(row.ok for row in found):
        raise typer.Exit(1)


def peek(
    looks: Annotated[int, typer.Option("--looks", min=2, max=60, help="Days; one look a day.")] = 14,
    users: Annotated[
        int, typer.Option("--users", min=100, max=100_000, help="Of an arm at the end.")
    ] = 1_400,
    lift: Annotated[float, typer.Option("--lift", min=-0.9, max=9.0, help="The true one.")] = 0.0,
    tests: Annotated[
        int, typer.Option("--tests", min=100, max=100_000, help="How many are simulated.")
    ] = 2_000,
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Look at simulated tests every day, and stop by three rules: which err, and how soon they find."""
    from simulator.certificate.peeking import peek as look

    found: dict[str, Any] = look(looks, users, lift, tests, seed)
    if as_json:
        from simulator.commands.output import print_json

        print_json(found)
        return
    what = "called a difference that is not there" if lift == 0 else f"found the lift of {lift:+.1%}"
    for rule, one in found["rules"].items():
        after = f"after {one['users_seen']:.0%} of the users"
        print(f"{rule:<17} {one['called']:6.1%} of {tests:,} tests {what}, {after}")
