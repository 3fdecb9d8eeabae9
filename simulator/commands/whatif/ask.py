"""`laser-ab what-if`: a finished run asked again under other settings, without running it again."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.commands.options import CacheGb, Json, Overrides, Quiet

if TYPE_CHECKING:
    from simulator.whatif.resimulation import Answer, Resimulation


def what_if(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    overrides: Overrides = None,
    stdin: Annotated[
        bool,
        typer.Option(
            "--stdin",
            help='Answer a question a line, {"set": {"KEY": VALUE}} as JSON, with a line of JSON each, '
            "until stdin ends.",
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    cache_gb: CacheGb = None,
) -> None:
    """Simulate a finished run again with another budget, traffic, servers, policy, split or market."""
    from simulator.commands.output import progress

    if stdin and overrides:
        raise typer.BadParameter("questions come by stdin then: leave --set out", param_hint="--set")
    changes = {} if stdin else _changes(overrides or [])
    from simulator.whatif.resimulation import Resimulation

    with progress(quiet) as shown:
        resimulation = Resimulation(run, progress=shown)
    if stdin:
        _answer_all(resimulation, sys.stdin)
        return
    from simulator.commands.output import print_json
    from simulator.results.report import render

    answer = resimulation.ask(changes)
    if answer.scored:
        # Why it took long, and that it will not again.
        print(
            f"note: {answer.scored:,} (request, ladder step) pairs that no run had kept were scored for "
            "this, and are kept now (laser-ab cache list).",
            file=sys.stderr,
        )
    if as_json:
        print_json({"run": str(run), **_document(answer)})
        return
    asked = ", ".join(f"{key} = {json.dumps(value)}" for key, value in changes.items())
    print(f"If {asked}:" if asked else "As it was run:")
    print(render(answer.scorecard), end="")


def _changes(overrides: Iterable[str]) -> dict[str, Any]:
    from simulator.config.errors import ConfigError
    from simulator.config.overrides import read_changes

    changes, problems = read_changes(list(overrides), None, {})
    if problems:
        raise ConfigError(problems)
    return {".".join(change.path): change.value for change in changes}


def _answer_all(resimulation: "Resimulation", lines: Iterable[str]) -> None:
    """A line that says the run is held, then one for each question; what cannot be answered says why."""
    _say({"ready": True, "run": str(resimulation.run.path), "scorecard": resimulation.run.scorecard})
    for line in lines:
        if line.strip():
            _say(_reply(resimulation, line))


def _reply(resimulation: "Resimulation", line: str) -> dict[str, Any]:
    from laser.errors import LaserError
    from seqvault.errors import StoreError
    from simulator.errors import SimulatorError

    try:
        question = json.loads(line)
        changes = question["set"]
        if not isinstance(changes, dict):
            raise TypeError
    except (ValueError, TypeError, KeyError):
        return {"error": f'Found {line.strip()[:60]!r}, expected {{"set": {{"KEY": VALUE}}}} as JSON.'}
    named = {"id": question["id"]} if "id" in question else {}
    try:
        return {**named, **_document(resimulation.ask(changes))}
    except (SimulatorError, LaserError, StoreError, OSError) as problem:
        return {**named, "set": changes, "error": str(problem)}


def _document(answer: "Answer") -> dict[str, Any]:
    return {
        "set": answer.changes,
        "seconds": round(answer.seconds, 3),
        "scored": answer.scored,
        "scorecard": answer.scorecard,
    }


def _say(document: Mapping[str, Any]) -> None:
    """One line, at once: whoever asked waits for it."""
    from simulator.commands.output import SCHEMA_VERSION
    from simulator.results.files import plain

    whole = plain({"schema_version": SCHEMA_VERSION, **document})
    print(json.dumps(whole, ensure_ascii=False, allow_nan=False), flush=True)
