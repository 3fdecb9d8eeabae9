"""`laser-ab` as a process of its own: the dashboard imports nothing of the simulator but its results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import join

PATIENCE_S = 120.0  # for what is answered while the page waits: checks, the schema, an estimate


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def command(arguments: Sequence[str]) -> list[str]:
    """The process that is `laser-ab ARGUMENTS`, by the interpreter that runs this dashboard."""
    return [sys.executable, "-m", "simulator.cli", *arguments]


def as_typed(arguments: Sequence[str]) -> str:
    """The same as somebody would type it."""
    return join(["laser-ab", *arguments])


def laser_ab(*arguments: str) -> Answer:
    """Run a short command and wait for it; one that takes too long is ended and says so."""
    try:
        done = subprocess.run(
            command(arguments),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(1, "", f"{as_typed(arguments)} took longer than {PATIENCE_S:.0f} s and was ended.")
    return Answer(done.returncode, done.stdout, done.stderr)
