"""`laser-ab config`: a template, a check, and the schema for editors."""

import json
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from simulator.commands.options import ConfigFile, Json, Overrides, Seed
from simulator.errors import SimulatorError

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
    """Check an experiment file; exit code 2 when it cannot be used."""
    from simulator.commands.errors import USAGE
    from simulator.commands.output import print_json
    from simulator.config.load import ConfigError, load_config

    try:
        load_config(config, overrides or [], seed)
    except ConfigError as error:
        if not as_json:
            raise
        problems = [
            {
                "message": problem.message,
                "source": problem.source,
                "line": problem.place.line if problem.place else None,
                "column": problem.place.column if problem.place else None,
                "help": problem.help,
            }
            for problem in error.problems
        ]
        print_json({"valid": False, "problems": problems})
        raise typer.Exit(USAGE) from None
    if as_json:
        print_json({"valid": True, "problems": []})
    else:
        print(f"{config}: fine")


def schema() -> None:
    """Print the JSON Schema of experiment files, for editors."""
    from simulator.config.load import ExperimentConfig

    print(json.dumps(ExperimentConfig.model_json_schema(), indent=2, ensure_ascii=False))
