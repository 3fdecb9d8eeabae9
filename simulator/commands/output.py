"""What commands print: results on stdout, everything about the work on stderr."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from simulator.execution.progress import Progress, Silent

if TYPE_CHECKING:
    from simulator.results.read import Run

# Of the JSON documents that the commands make themselves; scorecards carry their own.
SCHEMA_VERSION = 1


def print_json(document: Mapping[str, Any]) -> None:
    """One document on stdout, with its schema_version."""
    from simulator.results.files import json_text

    print(json_text({"schema_version": SCHEMA_VERSION, **document}), end="")


def table(rows: Sequence[Sequence[str]]) -> Any:
    """A table for a terminal: headings first; the first column is words, the others are numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for k, heading in enumerate(rows[0]):
        made.add_column(heading, justify="left" if k == 0 else "right")
    for row in rows[1:]:
        made.add_row(*row)
    return made


def keep_answer(run: "Run", command: str, answer: Mapping[str, Any]) -> None:
    """Keep what was found about a run beside it, where the dashboard shows it; say so where that fails."""
    from simulator.results.beside.asked import keep
    from simulator.results.errors import ResultsError

    try:
        keep(run, command, answer)
    except (ResultsError, OSError) as error:
        print(f"The answer was not kept beside the run: {error}", file=sys.stderr)


@contextlib.contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """On stderr: bars on a terminal, a line now and then where nobody is watching, nothing with --quiet."""
    if quiet:
        yield Silent()
        return
    if not sys.stderr.isatty():
        with plain_lines(sys.stderr) as lines:
            yield lines
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    from simulator.results.report import terminal

    text = TextColumn("{task.description:<24}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=terminal(stderr=True)) as bars:
        yield _Rich(bars)


@contextlib.contextmanager
def plain_lines(stream: TextIO, every_s: float = 10.0) -> Iterator[Progress]:
    """Where the work stands, a line every ten seconds: for CI, nohup and `2> log`.

    Args:
        stream: where to.
        every_s: between two lines; what is shorter than that says nothing.
    """
    lines, ended = _Lines(stream), threading.Event()

    def speak() -> None:
        while not ended.wait(every_s):
            lines.speak()

    # A thread, since a single step of a stage may take minutes.
    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield lines
    finally:
        ended.set()
        speaker.join()


class _Lines:
    """The stage that was heard of last, and since when."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._began_s = stream, time.monotonic()
        self._stage_began_s, self._before = self._began_s, 0
        self._stage: tuple[str, int, int] | None = None

    def stage(self, name: str, done: int, total: int) -> None:
        """Remember it."""
        if self._stage is None or self._stage[0] != name:
            self._stage_began_s, self._before = time.monotonic(), done
        self._stage = (name, done, total)

    def speak(self) -> None:
        """Say it."""
        if self._stage is not None:
            name, done, total = self._stage
            elapsed_s = time.monotonic() - self._began_s
            line = f"{elapsed_s:6.0f} s  {name} {done} of {total}{self._rate(done, total)}"
            print(line, file=self._stream, flush=True)

    def _rate(self, done: int, total: int) -> str:
        """How fast the stage goes and how long it will take; nothing at its beginning and its end."""
        spent_s = time.monotonic() - self._stage_began_s
        if not self._before < done < total or spent_s <= 0:
            return ""
        rate = (done - self._before) / spent_s
        return f", {60 * rate:,.1f} a minute, about {(total - done) / rate:.0f} s left"


class _Rich:
    """One bar per stage."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def stage(self, name: str, done: int, total: int) -> None:
        """Move the stage's bar."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)
