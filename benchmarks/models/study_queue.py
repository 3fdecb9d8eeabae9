"""Trainings shared among processes by files: a claim each, and one line per row."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.models.study_plan import KEY, Row, Training
from benchmarks.models.study_real import REAL, facts_rows, real_gap_rows
from benchmarks.result import result_of

SEED = 0  # of the trials; worlds and trainings name theirs


class WorkError(Exception):
    """The folder of rows lacks what a stage needs, or cannot be read."""


class Queue:
    """What is done, who does what, and the time that is left.

    Args:
        folder: shared by all processes. seconds: of this call; nothing is taken after them.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.claims = folder, folder / "claims"
        self._end_s = _started_s(folder) + seconds
        self._broken = folder / "broken"
        self._own = folder / f"rows-{os.getpid()}-{time.time_ns()}.jsonl"

    @staticmethod
    def open(folder: Path) -> None:
        """Begin a call: claims of an earlier one that gave no rows are void."""
        shutil.rmtree(folder / "claims", ignore_errors=True)
        (folder / "claims").mkdir(parents=True)
        (folder / "broken").unlink(missing_ok=True)
        (folder / "started").write_text(repr(time.time()))

    def elapsed_s(self) -> float:
        """Seconds since the call began."""
        return time.time() - _started_s(self.folder)

    def rows(self) -> list[Row]:
        """All rows so far, of all processes and calls.

        Raises:
            WorkError: a line is no row.
        """
        found = []
        for path in sorted(self.folder.glob("rows-*.jsonl")):
            for i, line in enumerate(path.read_text().split("\n")[:-1], 1):  # the last is not yet whole
                found.append(_row(line, f"{path}, line {i}"))
        return found

    def done(self) -> set[tuple[Any, ...]]:
        """Keys of all rows."""
        return keys_of(self.rows())

    def taken(self, trainings: list[Training]) -> Iterator[Training]:
        """Trainings that nobody has done or does, claimed one by one."""
        done = self.done()
        for training in trainings:
            if time.time() > self._end_s:
                return
            if training.key not in done and self._claim(training):
                yield training

    def wait_for(self, trainings: list[Training]) -> bool:
        """Wait for the other processes' rows; False where time ran out or one of them broke."""
        wanted = {training.key for training in trainings}
        while not wanted <= self.done():
            if time.time() > self._end_s or self._broken.exists():
                return False
            time.sleep(1.0)
        return True

    def broken(self) -> None:
        """Say that a process broke, so that nobody waits for its rows."""
        self._broken.touch()

    def add(self, rows: list[Row]) -> None:
        """Keep the rows of a training, all or none."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        with self._own.open("a") as out:
            out.write(text)

    def _claim(self, training: Training) -> bool:
        name = hashlib.sha256(repr(training.key).encode()).hexdigest()
        try:
            (self.claims / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def keys_of(rows: list[Row]) -> set[tuple[Any, ...]]:
    """What names them, as `Training.key`."""
    return {tuple(row[name] for name in KEY) for row in rows}


def _row(line: str, place: str) -> Row:
    try:
        row: Row = json.loads(line)
        keys_of([row])
    except (ValueError, KeyError, TypeError) as error:
        shown = f"{place} is {line[:40]!r}, expected a row of a training ({error!r})."
        raise WorkError(f"{shown} Remove the line: its training is done again.") from error
    return row


def save(folder: Path, out: Path, quick: bool, users: int | None, drawn: Path) -> None:
    """Write the results from all rows, with what each model costs in arithmetic.

    Args:
        drawn: where the logs of the real stages lie, which say what they are.

    Raises:
        WorkError: there is no row.
    """
    from benchmarks.models.cells import counted

    rows = Queue(folder, 0).rows()
    if not rows:
        raise WorkError(f"{folder} holds no rows, so nothing was written. Run the stages before.")
    rows.sort(key=lambda row: tuple(str(row[name]) for name in KEY))
    for row in rows:
        if "config" in row:
            row |= counted(row.pop("config"), row["history"])
    out.mkdir(parents=True, exist_ok=True)
    apart = {"tuning": "model_study_tuning", REAL: "model_study_real"}
    by_file: dict[str, list[Row]] = {}
    for row in rows:
        by_file.setdefault(apart.get(row["part"], "model_study"), []).append(row)
    for name, own in by_file.items():
        if name == apart[REAL]:
            own = [*facts_rows(own, drawn), *real_gap_rows(own)]
        if own:
            result = result_of(name, SEED, quick, own, [])
            (out / f"{name}.json").write_text(json.dumps({**result, "users": users}, indent=1) + "\n")


def _started_s(folder: Path) -> float:
    path = folder / "started"
    return float(path.read_text()) if path.exists() else time.time()
