"""A finished run held by a process of its own, `laser-ab what-if RUN --stdin`, and asked while one looks.

The process ends with the dashboard, whose end closes its stdin, or when others are held in its place.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from dashboard.work.commands import command
from dashboard.work.places import DashboardError, refuse_read_only

PATIENCE_S = 600.0  # to hold a run: its world is made, and what was not kept is scored
MOST_HELD = 2  # runs; each takes about a gigabyte


class Held:
    """A run in a process; one question at a time."""

    def __init__(self, run: Path) -> None:
        """Start the process and wait until it has the run.

        Raises:
            DashboardError: it ended or took too long; with what it said.
        """
        self._run = run
        self._lock = threading.Lock()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
        self._process = subprocess.Popen(
            command(["what-if", str(run), "--stdin", "--quiet"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self._answer()
        except DashboardError:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The run's scorecard under other settings, by dotted key, with the seconds that it took.

        Raises:
            DashboardError: the settings cannot be asked for, or the process has ended.
        """
        with self._lock:
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(json.dumps({"set": dict(changes)}) + "\n")
                self._process.stdin.flush()
            except (OSError, ValueError) as error:
                raise DashboardError(f"The process that held {self._run} has ended. Ask again.") from error
            return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()  # it writes nothing that could be left half-done
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream is not None:
                with contextlib.suppress(OSError):  # a question that was never read
                    stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._lines.put(line)
        except ValueError:  # closed meanwhile
            pass
        self._lines.put("")

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=PATIENCE_S)
        except queue.Empty:
            line = ""
        if not line:
            self._process.kill()
            self._process.wait()
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip()
            raise DashboardError(said or f"The process that held {self._run} gave no answer. Ask again.")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise DashboardError(str(answer["error"]))
        return answer


_held: dict[Path, Held] = {}
_holding = threading.Lock()


def is_held(run: Path) -> bool:
    """Whether a run can be asked at once."""
    return run in _held and _held[run].alive


def hold(run: Path) -> Held:
    """The process that holds a run; started if there is none, in place of the one asked longest ago.

    Raises:
        DashboardError: the dashboard is read-only, or the run cannot be held; with the reason.
    """
    refuse_read_only()
    with _holding:
        one = _held.pop(run, None)
        if one is None or not one.alive:
            if one is not None:
                one.close()
            while len(_held) >= MOST_HELD:
                _held.pop(next(iter(_held))).close()
            one = Held(run)
        _held[run] = one
        return one
