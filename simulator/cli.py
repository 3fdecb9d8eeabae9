"""`laser-ab`: the command line. The commands are in `commands/`, exit codes in `commands/errors.py`."""

import io
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from simulator.commands import cache, store
from simulator.commands.config import check, init, schema
from simulator.commands.dash import dash
from simulator.commands.doctor import doctor
from simulator.commands.errors import guarded
from simulator.commands.logs.calibrate import calibrate
from simulator.commands.logs.import_log import complete_journey, kuairand, table
from simulator.commands.logs.policy_value import policy_value
from simulator.commands.profile import profile
from simulator.commands.report import compare, report
from simulator.commands.run import demo, run
from simulator.commands.statistics import validate
from simulator.commands.statistics.analyze import analyze
from simulator.commands.statistics.breakdown import breakdown
from simulator.commands.statistics.designs import designs
from simulator.commands.statistics.power import power
from simulator.commands.statistics.truth import truth
from simulator.commands.train import train
from simulator.commands.whatif.ask import what_if
from simulator.commands.whatif.channels import channels
from simulator.commands.whatif.sweep import sweep

# Our own messages instead of typer's boxed tracebacks: see commands/errors.py.
_STYLE: dict[str, Any] = {"no_args_is_help": True, "pretty_exceptions_enable": False}

app = typer.Typer(
    name="laser-ab",
    help="Online A/B tests of ads ranking, simulated: real stores, real models, a latency budget, the truth.",
    **_STYLE,
)
import_app = typer.Typer(help="Real logs as traffic.", **_STYLE)
store_app = typer.Typer(
    cls=store.StoreGroup, help="SeqVault folders: verify, measure, read out, copy, tidy.", **_STYLE
)
cache_app = typer.Typer(help="Scores and trained models that runs keep for each other.", **_STYLE)
validate_app = typer.Typer(help="The certificate: what is claimed, checked for any parameters.", **_STYLE)
config_app = typer.Typer(help="Experiment files: a template, a check, the schema.", **_STYLE)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"laser-ab {version('laser-ab')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _add(to: typer.Typer, *commands: Callable[..., None]) -> None:
    for command in commands:
        to.command(command.__name__)(guarded(command))


_add(app, demo, run, sweep, report, compare, analyze, power, designs, truth, calibrate)
_add(app, dash, train, profile, doctor)
app.command("what-if")(guarded(what_if))
app.command("policy-value")(guarded(policy_value))
_add(app, channels, breakdown)
_add(config_app, init, check, schema)
_add(import_app, table, kuairand)
import_app.command("complete-journey")(guarded(complete_journey))
cache_app.command("list")(guarded(cache.show))
_add(cache_app, cache.clear)
_add(store_app, store.make, store.check, store.stats, store.bench, store.dump)
_add(store_app, store.load, store.migrate, store.delete, store.snapshot, store.compact)
app.add_typer(cache_app, name="cache")
_add(validate_app, validate.inference, validate.auction, validate.queueing, validate.faults, validate.peek)
app.add_typer(config_app, name="config")
app.add_typer(import_app, name="import")
app.add_typer(store_app, name="store")
app.add_typer(validate_app, name="validate")


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not so where a caller has put its own there
            # A terminal without the currency sign or the em dash gets a question mark for them.
            stream.reconfigure(errors="replace")
    app()


if __name__ == "__main__":
    main()
