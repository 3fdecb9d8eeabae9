"""What runs keep for each other: scores and trained models, in a folder of the machine. Start: `open_cache`.

A score is a function of (request, model, history), whatever the load, budget, servers, split or market that
a run is about; a trained model is one of its log, settings and seed. Each lies in a file named by the digest
of all that it is made from, so nothing is ever out of date. The files that were used least recently go when
the folder exceeds its bound.

    FOLDER/scores/DIGEST    logits of one model on one history length, for the requests of one trace
    FOLDER/models/DIGEST    a trained model: a checkpoint file, see `checkpoints.kept`
    FOLDER/*/DIGEST.json    what it is, in words
    FOLDER/lock             held while a file is put in or let go

    a file of scores
    +-------+-------+------------+---------+---------------------------------------+
    | magic | rows  | candidates | SHA-256 | float32 (rows, candidates), NaN where |
    | 8 B   | u64   | u64        | 32 B    | a request was not scored; little      |
    +-------+-------+------------+---------+---------------------------------------+ endian

Files appear whole or not at all, so runs may use one folder at the same time; what two put in is joined. A
disk that is full costs a note and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SimulatorError
from simulator.results.errors import ResultsError
from simulator.results.files import write_atomic, write_text
from simulator.scratch import let_go, own_folder

F4 = NDArray[np.float32]
FOLDER_VARIABLE = "LASER_AB_CACHE"
BOUND_VARIABLE = "LASER_AB_CACHE_GB"
DEFAULT_GB = 20.0

_MAGIC = b"LASERSC1"
_HEAD = struct.Struct("<8sQQ32s8x")  # 64 bytes, so that numbers stay aligned
_LOCK = "lock"
_AT_ONCE = 1 << 16  # requests whose scores are looked at together
_log = logging.getLogger(__name__)


class CacheError(SimulatorError):
    """A cache that cannot be used as it was asked for."""


@dataclass(frozen=True)
class Entry:
    """A file of the cache.

    Attributes:
        kind: scores or models.
        name: its digest.
        bytes: its size.
        used_s: when it was last used, seconds since the epoch.
        about: what it is, in words.
    """

    kind: str
    name: str
    bytes: int
    used_s: float
    about: Mapping[str, Any]


def open_cache() -> Cache | None:
    """The cache that the environment names; None where it is switched off by a bound of 0.

    LASER_AB_CACHE is its folder, by default laser-ab in the user's folder for caches, or among the temporary
    files of a user without a home; LASER_AB_CACHE_GB is how many GB it may hold, 20 by default.

    Raises:
        CacheError: the bound is no number.
    """
    text = os.environ.get(BOUND_VARIABLE) or str(DEFAULT_GB)
    try:
        bound = float(text)
        if not 0 <= bound < 1e9:
            raise ValueError
    except ValueError:
        raise CacheError(
            f"{BOUND_VARIABLE} is {text!r}, expected GB >= 0, such as 20; 0 keeps nothing."
        ) from None
    if bound == 0:
        return None
    named = os.environ.get(FOLDER_VARIABLE)
    return Cache(Path(named) if named else _users_caches() / "laser-ab", round(bound * 1e9))


def _users_caches() -> Path:
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(named) if named else Path.home() / ".cache"
    except RuntimeError:  # no home: a user that the system does not know, as in a container
        return own_folder()


@dataclass(frozen=True)
class Cache:
    """A folder of kept files and the bytes that it may hold."""

    folder: Path
    most_bytes: int

    def scores(self, digest: str, rows: int, candidates: int) -> F4 | None:
        """(R, C) kept logits, memory-mapped, NaN where a request was not scored; None where there are none.

        A damaged file is let go, with a note.
        """
        path = self._path("scores", digest)
        try:
            found = read_scores(path, rows, candidates)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as problem:
            _log.warning("%s: %s. It is let go, and its work done again.", path, problem)
            self._remove(path)
            return None
        self.touch(path)
        return found

    def keep_scores(self, digest: str, logits: F4, about: Mapping[str, Any]) -> None:
        """Keep (R, C) logits, NaN where not scored, joined with what another run has kept meanwhile."""
        path = self._path("scores", digest)
        with self._noting(path), self._locked():
            known = self.scores(digest, *logits.shape)
            if known is not None:
                logits = np.where(np.isnan(logits), known, logits)
            write_scores(path, logits)
            self._describe(path, {**about, "requests": int((~np.isnan(logits[:, 0])).sum())})
            self._bound(path)

    def model_path(self, digest: str) -> Path:
        """Where a trained model is kept."""
        path = self._path("models", digest)
        if path.exists():
            self.touch(path)
        return path

    def keep_model(self, path: Path, write: Callable[[], object], about: Mapping[str, Any]) -> None:
        """Keep a trained model, which `write` puts at its path."""
        with self._noting(path), self._locked():
            write()
            self._describe(path, about)
            self._bound(path)

    def entries(self) -> list[Entry]:
        """All files, the most recently used first."""
        found = []
        for path in self._files():
            with contextlib.suppress(OSError):  # another run let it go
                stat = path.stat()
                found.append(Entry(path.parent.name, path.name, stat.st_size, stat.st_mtime, _about(path)))
        return sorted(found, key=lambda entry: -entry.used_s)

    def clear(self) -> int:
        """Let everything go.

        Returns:
            The bytes that it held.

        Raises:
            OSError: the folder cannot be written.
        """
        if not self.folder.is_dir():
            return 0
        with self._locked():
            held = sum(entry.bytes for entry in self.entries())
            for path in self._files():
                self._remove(path)
        return held

    def touch(self, path: Path) -> None:
        """Note that a file was used."""
        with contextlib.suppress(OSError):
            os.utime(path)

    def _path(self, kind: str, digest: str) -> Path:
        return self.folder / kind / digest

    def _files(self) -> list[Path]:
        folders = [self.folder / kind for kind in ("scores", "models")]
        every = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        return [path for path in every if path.suffix == "" and not path.name.startswith(".")]

    def _describe(self, path: Path, about: Mapping[str, Any]) -> None:
        write_text(_described(path), json.dumps(dict(about)) + "\n")

    def _bound(self, newest: Path) -> None:
        """Let the least recently used go until the rest fits; the newest goes last."""
        entries = [entry for entry in self.entries() if self._path(entry.kind, entry.name) != newest]
        held = sum(entry.bytes for entry in entries) + newest.stat().st_size
        for entry in reversed(entries):
            if held <= self.most_bytes:
                return
            self._remove(self._path(entry.kind, entry.name))
            held -= entry.bytes
        if held > self.most_bytes:
            self._remove(newest)
            _log.warning(
                "%s: its %.1f GB exceed the bound of %.1f GB, so it is not kept. Set %s higher.",
                newest, held / 1e9, self.most_bytes / 1e9, BOUND_VARIABLE,
            )  # fmt: skip

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            _described(path).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        for kind in ("scores", "models"):
            (self.folder / kind).mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("ab") as file:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed
            yield

    @contextlib.contextmanager
    def _noting(self, path: Path) -> Iterator[None]:
        """What cannot be kept is made again another time: no reason to end a run."""
        try:
            yield
        except (OSError, ResultsError) as problem:
            why = problem.reason if isinstance(problem, ResultsError) else str(problem)
            _log.warning("%s: %s The run goes on without keeping it.", path, why)


def write_scores(path: Path, logits: F4) -> None:
    """Write a file of scores, see the module.

    Raises:
        ResultsError: the disk is full or the folder not writable.
    """
    body = np.ascontiguousarray(logits, "<f4")
    rows, candidates = body.shape
    head = _HEAD.pack(_MAGIC, rows, candidates, hashlib.sha256(body.data).digest())
    write_atomic(path, lambda file: file.writelines([head, body.data]))


def read_scores(path: Path, rows: int, candidates: int) -> F4:
    """(R, C) logits of a file, memory-mapped; a removed file stays readable to those who have it.

    Look at them by `rows_of` and `scored`.

    Raises:
        ValueError: it is damaged or of another size.
        OSError: it cannot be read, or is not there.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or head[: len(_MAGIC)] != _MAGIC:
            raise ValueError("found another kind of file, expected one of scores")
        _, *shape, expected = _HEAD.unpack(head)
        size = _HEAD.size + 4 * rows * candidates
        if shape != [rows, candidates] or os.fstat(file.fileno()).st_size != size:
            raise ValueError(f"found {shape} scores, or a part of them, expected [{rows}, {candidates}]")
        if hashlib.file_digest(file, "sha256").digest() != expected:
            raise ValueError("its SHA-256 is not the one written with it")
        if rows * candidates == 0:
            return np.zeros((rows, candidates), np.float32)
        return np.memmap(file, "<f4", "r", _HEAD.size, (rows, candidates))


def rows_of(scores: F4, rows: NDArray[np.int64]) -> F4:
    """(n, C) copies of some rows; what is memory-mapped stays on disk."""
    taken: F4 = scores[rows]
    let_go(scores)
    return taken


def scored(scores: F4) -> NDArray[np.bool_]:
    """(R,) which requests were scored; what is memory-mapped stays on disk."""
    found = np.empty(len(scores), np.bool_)
    for first in range(0, len(scores), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        found[rows] = ~np.isnan(scores[rows, 0])
        let_go(scores)
    return found


def _described(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _about(path: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(_described(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about
