"""Trainings shared among processes by files: a claim each, and a line a row."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _result import result_of
from _study_plan import ABLATIONS, KEY, Row, Training

SEED = 0  # of the trials; worlds and trainings name theirs


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
        """All rows so far, of all processes and calls."""
        found = []
        for path in sorted(self.folder.glob("rows-*.jsonl")):
            # A line that is being written has no end yet.
            found += [json.loads(line) for line in path.read_text().splitlines(True) if line.endswith("\n")]
        return found

    def done(self) -> set[tuple[Any, ...]]:
        """Keys of all rows."""
        return {tuple(row[name] for name in KEY) for row in self.rows()}

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


def save(folder: Path, out: Path, quick: bool, users: int | None) -> None:
    """Write the two results from all rows, with what each model costs in arithmetic."""
    from _model_cells import counted

    rows = Queue(folder, 0).rows()
    rows.sort(key=lambda row: tuple(str(row[name]) for name in KEY))
    for row in rows:
        if "config" in row:
            row |= counted(row.pop("config"), row["history"])
    rows += as_tuned(rows)
    out.mkdir(parents=True, exist_ok=True)
    for name, own in (
        ("model_study_tuning", [row for row in rows if row["part"] == "tuning"]),
        ("model_study", [row for row in rows if row["part"] != "tuning"]),
    ):
        if own:
            result = result_of(name, SEED, quick, own, [])
            (out / f"{name}.json").write_text(json.dumps({**result, "users": users}, indent=1) + "\n")


def as_tuned(rows: list[Row]) -> list[Row]:
    """The rows of ablations that change nothing, because tuning had come to the same: LASER's own."""
    seeds = {row["train_seed"] for row in rows if row["part"] == "ablation"}
    own = [
        row
        for row in rows
        if (row["part"], row["protocol"], row["name"]) == ("order", "tuned", "laser")
        and row["train_seed"] in seeds
    ]
    return [
        {**row, "part": "ablation", "name": name}
        for row in own
        for name, (options, history) in ABLATIONS.items()
        if row["history"] == history and options.items() <= row["options"].items()
    ]


def _started_s(folder: Path) -> float:
    path = folder / "started"
    return float(path.read_text()) if path.exists() else time.time()
