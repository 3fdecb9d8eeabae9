"""What an interrupted run has already computed, in RUN/work: atomic files with a checksum. Start at `kept`.

    +-------+------------------+------------------------------------------+
    | magic | SHA-256 of body  | body: an .npz of arrays, "meta" its JSON |
    | 8 B   | 32 B             |                                          |
    +-------+------------------+------------------------------------------+

    RUN/work/experiment.toml          the file as the run began, to show what was edited
    RUN/work/inputs                   the world, for the run's own processes; never used by another run
    RUN/work/training/KEY-*.train     a training under way: weights, optimiser, schedule, generator
    RUN/work/training/KEY-*.trained   a trained model's calibration and metrics
    RUN/work/calibration              live runs: what they size themselves and predict by
    RUN/work/arms/NAME-*/scores-A-B   the arm's logits of requests A..B-1
    RUN/work/arms/NAME-*/live         live runs: an arm that was served
    RUN/work/arms/NAME-*/store-*      the arm's store while it is read; never continued, always loaded anew

One rule says what of it is used: a file that is whole, and was made from the same inputs, whose digest it
carries (`inputs_of`). Anything else is ignored with a note, and its work done again.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SimulatorError
from simulator.execution import interrupts
from simulator.results.files import write_atomic
from simulator.scratch import blank, let_go

EVERY_S = 20.0  # wall seconds of work that may be lost; a checkpoint costs milliseconds

_MAGIC = b"LASERAB1"
_HEAD_BYTES = len(_MAGIC) + 32
_log = logging.getLogger(__name__)

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]


class Unusable(SimulatorError):
    """Raised by an `unpack`: what the file speaks of is not there any more."""


def kept(
    path: Path | None,
    inputs: str,
    make: Callable[[], T],
    pack: Callable[[T], tuple[Mapping[str, Any], Mapping[str, NDArray[Any]]]],
    unpack: Callable[[dict[str, Any], Arrays], T],
) -> T:
    """What an earlier process made of the same inputs, else what `make` makes now, which is kept.

    Args:
        path: the file; None keeps nothing.
        inputs: the digest of all that the result is made from, see `inputs_of`.
        make: does the work.
        pack: the result as JSON-able meta and arrays.
        unpack: the result again; raises `Unusable` where it refers to something that is gone.

    Raises:
        ResultsError: the disk is full or the folder not writable.
    """
    found = known(path, inputs, unpack)
    if found is not None:
        return found
    made = make()
    if path is not None:
        write(path, inputs, *pack(made))
    return made


def known(path: Path | None, inputs: str, unpack: Callable[[dict[str, Any], Arrays], T]) -> T | None:
    """What `kept` finds; None where it would make it."""
    if path is None or (found := read(path, inputs)) is None:
        return None
    try:
        return unpack(*found)
    except Unusable as problem:
        ignore(path, str(problem))
        return None


def inputs_of(**parts: object) -> str:
    """The digest of what work is made from: named parts, which must say all of themselves in their `repr`."""
    text = "\n".join(f"{name}={part!r}" for name, part in sorted(parts.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def write(path: Path, inputs: str, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a checkpoint; `path` holds its old content or all of the new one.

    Args:
        inputs: the digest of what it was made from.
        meta: JSON-able.
        arrays: any but one called "meta".

    Raises:
        ResultsError: the disk is full or the folder not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    body = io.BytesIO()
    text = json.dumps({"inputs": inputs, "meta": dict(meta)}).encode()
    named: dict[str, Any] = {"meta": np.frombuffer(text, np.uint8), **arrays}
    np.savez(body, **named)
    content = body.getbuffer()
    write_atomic(path, lambda file: file.writelines([_MAGIC, hashlib.sha256(content).digest(), content]))


def read(path: Path, inputs: str) -> tuple[dict[str, Any], Arrays] | None:
    """Meta and arrays of a checkpoint made from these inputs.

    Returns:
        None where there is none; with a note, where it is damaged or was made from others.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    body = content[_HEAD_BYTES:]
    if content[:_HEAD_BYTES] != _MAGIC + hashlib.sha256(body).digest():
        ignore(path, "it is damaged or cut short")
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    head = json.loads(arrays.pop("meta").tobytes())
    if head["inputs"] != inputs:
        ignore(path, "it was made from other inputs than those of now")
        return None
    return head["meta"], arrays


def ignore(path: Path, reason: str) -> None:
    """Note that a checkpoint is of no use."""
    _log.warning("%s: %s. It is ignored, and its work done again.", path, reason)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Timer:
    """Says when the next checkpoint is due: `EVERY_S` after the last, or at once when asked to end."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def due(self) -> bool:
        """Whether to write one now."""
        return interrupts.asked() or time.monotonic() - self._last_s >= EVERY_S

    def restart(self) -> None:
        """One was written."""
        self._last_s = time.monotonic()


class TrainingFile:
    """Keeps the state of one training; a `laser.training.state.Keeper`.

    Args:
        path: the file.
        inputs: the digest of what the training is made from.
    """

    def __init__(self, path: Path, inputs: str) -> None:
        self._path, self._inputs, self._timer = path, inputs, Timer()

    def load(self) -> bytes | None:
        """The state last saved; None where there is none."""
        found = read(self._path, self._inputs)
        return None if found is None else found[1]["state"].tobytes()

    def due(self) -> bool:
        """Whether to save now."""
        return self._timer.due()

    def save(self, state: bytes) -> None:
        """Save, and end here if that was asked for.

        Raises:
            Interrupted: it was.
            ResultsError: the disk is full.
        """
        write(self._path, self._inputs, {}, {"state": np.frombuffer(state, np.uint8)})
        self._timer.restart()
        interrupts.check()


class ScoreFiles:
    """An arm's logits as they are computed, kept in files of some seconds' work each.

    K ladder steps with a model, R requests, C candidates.

    Args:
        folder: where the files are; None to keep nothing.
        inputs: the digest of what scores are made from.
        needed: (R, K) what is to be scored.
        candidates: C.

    Attributes:
        logits: (K, R, C) float32 in a temporary file; what earlier processes computed is in, the rest is NaN.
        missing: (R, K) what is still to be scored.
    """

    def __init__(self, folder: Path | None, inputs: str, needed: NDArray[np.bool_], candidates: int) -> None:
        rows, steps = needed.shape
        self._folder, self._inputs, self._needed, self._timer = folder, inputs, needed, Timer()
        self.logits = blank({"logits": (np.float32, (steps, rows, candidates))})["logits"]
        for of_step in self.logits:
            of_step[:] = np.nan
            let_go(of_step)
        self.missing = needed.copy()
        for path in [] if folder is None else sorted(folder.glob("scores-*")):
            self._take(path)
        self._kept = 0  # rows below are in files

    def reached(self, row: int, smaller: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """All requests below `row` are scored: write a file if it is time, and end if that was asked for.

        Args:
            row: of the trace.
            smaller: by model, shapes of batches that were taken smaller for want of memory.

        Raises:
            Interrupted: it was.
            ResultsError: the disk is full.
        """
        last = row == len(self._needed)
        let_go(self.logits)
        if self._folder is None or not (last or self._timer.due()):
            return
        if self.missing[self._kept : row].any():
            scored = self._needed[self._kept : row]
            part = {"scored": scored, "logits": self.logits[:, self._kept : row][scored.T]}
            path = self._folder / f"scores-{self._kept:09d}-{row:09d}"
            write(path, self._inputs, {"first": self._kept, "end": row, "smaller": smaller or {}}, part)
        self._kept = row
        self._timer.restart()
        interrupts.check()

    def _take(self, path: Path) -> None:
        """Of a file, what is needed: it may hold other ladder steps of its requests."""
        found = read(path, self._inputs)
        if found is None:
            return
        meta, arrays = found
        if meta.get("smaller"):
            # Bits follow from the shape: those of another one beside those of the planned would be a mixture
            # that depends on what else used the device.
            ignore(path, f"its scores were made in smaller batches for want of memory ({meta['smaller']})")
            return
        rows = slice(int(meta["first"]), int(meta["end"]))
        scored: NDArray[np.bool_] = arrays["scored"]
        held = np.full((*scored.T.shape, self.logits.shape[2]), np.nan, np.float32)
        held[scored.T] = arrays["logits"]
        usable = scored & self._needed[rows]
        self.logits[:, rows][usable.T] = held[usable.T]
        self.missing[rows] &= ~usable
