"""`laser-ab config`: a template, a check, and the schema for editors."""

import json
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.commands.options import ConfigFile, Json, Overrides, Seed
from simulator.errors import SimulatorError

if TYPE_CHECKING:
    from simulator.config.errors import Problem

TEMPLATE = Path(__file__).resolve().parents[1] / "examples" / "template.toml"


def init(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; printed by default.")
    ] = None,
) -> None:
    """Print a commented experiment file, or write it."""
    text = TEMPLATE.read_text(encoding="utf-8")
    if file is None:
        print(text, end="")
        return
    from simulator.results.files import write_new

    if file.exists():
        raise SimulatorError(f"{file}: found a file there, expected none. Choose another name.")
    write_new(file, lambda stream: stream.write(text.encode()))
    print(f"Wrote {file}. Next: laser-ab run {quote(str(file))}")


def check(config: ConfigFile, overrides: Overrides = None, seed: Seed = None, as_json: Json = False) -> None:
    """Check an experiment file and what it names, before any work; exit code 2 when it cannot be used."""
    from simulator.commands.checked import look_through
    from simulator.commands.errors import USAGE
    from simulator.commands.output import print_json
    from simulator.config.errors import ConfigError

    try:
        _, warnings = look_through(config, overrides, seed)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"valid": False, "problems": [_as_json(problem) for problem in error.problems]})
        raise typer.Exit(USAGE) from None
    if as_json:
        print_json({"valid": True, "problems": [_as_json(warning) for warning in warnings]})
        return
    for warning in warnings:
        print(warning.render(), end="\n\n", file=sys.stderr)
    print(f"{config}: fine{', with the warnings above' if warnings else ''}")


def _as_json(problem: "Problem") -> dict[str, Any]:
    return {
        "severity": "warning" if problem.warning else "error",
        "message": problem.message,
        "source": problem.source,
        "line": problem.place.line if problem.place else None,
        "column": problem.place.column if problem.place else None,
        "help": problem.help,
    }


def schema() -> None:
    """Print the JSON Schema of experiment files, for editors."""
    from simulator.config.load import ExperimentConfig

    print(json.dumps(ExperimentConfig.model_json_schema(), indent=2, ensure_ascii=False))
