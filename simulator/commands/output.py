"""What commands print: results on stdout, everything about the work on stderr."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from simulator.execution.progress import Progress, Silent

# Of the JSON documents that the commands make themselves; scorecards carry their own.
SCHEMA_VERSION = 1


def print_json(document: Mapping[str, Any]) -> None:
    """One document on stdout, with its schema_version."""
    print(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2, ensure_ascii=False))


@contextlib.contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """Bars on stderr while someone is watching (a terminal, no --quiet); else silence."""
    if quiet or not sys.stderr.isatty():
        yield Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        yield _Rich(bars)


class _Rich:
    """One bar a stage."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def stage(self, name: str, done: int, total: int) -> None:
        """Move the stage's bar."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)
