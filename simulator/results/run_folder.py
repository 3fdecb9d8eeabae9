"""Writing run and sweep folders.

    RUN/manifest.json      the first file; status running -> finished | failed
    RUN/run.lock           an flock on it says "the process lives"
    RUN/experiment.toml    the resolved configuration
    RUN/*.parquet          the tables of `schemas.py`
    RUN/scorecard.json     the result

Every file appears whole or not at all; `finish` writes the status last, so a folder that says
"finished" is complete. Reading is in `read.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pyarrow as pa

from simulator.results.errors import ResultsError, can_pass, from_os_error
from simulator.results.files import FolderLock, json_text, sync_folder, write_text
from simulator.results.read import read_manifest
from simulator.results.schemas import SCHEMA_VERSION
from simulator.results.tables import write_parquet

PROGRESS_S = 1.0  # manifest writes cost an fsync; progress needs no more than one per second

# Every manifest has these keys, null where the caller did not know.
MANIFEST_KEYS = (
    "name",
    "seed",
    "versions",
    "hardware",
    "commit",
    "service_times",
    "profile_machine",
    "time_compression",
    "budget_ms",
    "arms",
    "world",
)


def free_folder(out: Path) -> Path:
    """`out` if it does not exist (or is empty), else the first free of out-2, out-3, ..."""
    candidate, number = out, 1
    while candidate.exists() and not _is_empty_folder(candidate):
        number += 1
        candidate = out.with_name(f"{out.name}-{number}")
    return candidate


class FolderWriter:
    """What run and sweep folders share: creation, lock, manifest, progress, atomic files.

    A context manager: leaving it by an exception marks the folder failed; by KeyboardInterrupt (or
    SystemExit) leaves it interrupted, which can be resumed; without `finish`, likewise.
    """

    kind: ClassVar[str]
    required: ClassVar[tuple[str, ...]]  # files `finish` insists on

    def __init__(self, path: Path, manifest: dict[str, Any], lock: FolderLock) -> None:
        """Use `create` or `reopen`."""
        self.path = path
        self.manifest = manifest
        self._lock = lock
        self._written_s = time.monotonic()
        self._stage_began = _spent()

    @classmethod
    def create(cls, out: Path, manifest: Mapping[str, Any], texts: Mapping[str, str] | None = None) -> Self:
        """Create the folder, with the manifest as its first file and the lock held.

        Args:
            out: the folder itself; must not exist, or be empty. Parents are made.
            manifest: the caller's part (see MANIFEST_KEYS); more keys are kept as they are.
            texts: by name, text files without which the folder is not to be met, such as the resolved
                experiment.toml: an interrupted run is continued by it.

        Raises:
            ResultsError: `out` is taken or cannot be made.
        """
        # Built under a hidden name and renamed: a rename fails on a folder that holds something, so
        # two writers cannot share one, and no reader meets a folder without manifest and lock.
        hidden = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.new")
        full = {
            "schema_version": SCHEMA_VERSION,
            "kind": cls.kind,
            "status": "running",
            "created": _now(),
            "finished": None,
            **dict.fromkeys(MANIFEST_KEYS),
            **manifest,
            "stages": [],
            "files": {name: _entry(text) for name, text in (texts or {}).items()},
            "error": None,
        }
        lock = None
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            hidden.mkdir()
            for name, text in {"manifest.json": json_text(full), **(texts or {})}.items():
                write_text(hidden / name, text)
            lock = FolderLock(hidden)
            hidden.rename(out)
            sync_folder(out.parent)
        except (OSError, ResultsError) as error:
            if lock is not None:
                lock.release()
            shutil.rmtree(hidden, ignore_errors=True)
            cause = error.__cause__ if isinstance(error, ResultsError) else error
            if not isinstance(cause, OSError):
                raise
            if out.exists() and (not out.is_dir() or not _is_empty_folder(out)):
                raise _taken(out) from error
            raise from_os_error(out, cause, resumable=False) from error
        return cls(out, full, lock)

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """Take up an interrupted or failed folder again: lock it, status back to running.

        Raises:
            ResultsError: it is finished, still running, damaged or of another kind.
        """
        cls._check_unfinished(path, read_manifest(path))
        lock = FolderLock(path)
        try:
            # Again: another process may have ended it before we had the lock.
            manifest = cls._check_unfinished(path, read_manifest(path))
            for left in path.rglob(".*"):  # half-written by a killed process
                if left.is_file():
                    left.unlink(missing_ok=True)
            again: dict[str, Any] = {"status": "running", "finished": None, "stages": [], "error": None}
            resumed = [*(manifest.get("resumed") or []), _now()]
            writer = cls(path, {**manifest, **again, "resumed": resumed}, lock)
            writer._write_manifest()
        except BaseException:
            lock.release()
            raise
        return writer

    @classmethod
    def _check_unfinished(cls, path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
        if manifest["kind"] != cls.kind:
            raise ResultsError(
                path, f"found a {manifest['kind']}, expected a {cls.kind}.", "Give the right folder."
            )
        if manifest["status"] == "finished":
            raise ResultsError(
                path,
                f"found a finished {cls.kind}, expected an interrupted one.",
                "A finished folder never changes; write to a new one with --out.",
            )
        return manifest

    def stage(self, name: str, done: int, total: int) -> None:
        """Report progress; at most one manifest write a second, a stage's start and end always."""
        stages: list[dict[str, Any]] = self.manifest["stages"]
        entry = next((stage for stage in stages if stage["name"] == name), None)
        fresh = entry is None
        if entry is None:
            entry = {"name": name}
            stages.append(entry)
            self._stage_began = _spent()
        entry["done"], entry["total"] = int(done), int(total)
        wall_s, cpu_s = (now - then for now, then in zip(_spent(), self._stage_began, strict=True))
        entry |= {"seconds": round(wall_s, 2), "cpu_s": round(cpu_s, 2), "peak_gib": _peak_gib()}
        if fresh or done >= total or time.monotonic() - self._written_s >= PROGRESS_S:
            self._write_manifest()

    def update_manifest(self, **entries: Any) -> None:
        """Set manifest entries that became known during the run (a calibration, the budget)."""
        self.manifest.update(entries)
        self._write_manifest()

    def write_text(self, name: str, text: str) -> None:
        """Write a small text file of the folder, such as the resolved experiment.toml."""
        self._check_open()
        self.path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path / name, text)
        self.manifest["files"][name] = _entry(text)
        self._write_manifest()

    def write_table(
        self,
        name: str,
        data: Mapping[str, Any] | pa.Table | Iterable[Mapping[str, Any]],
        schema: pa.Schema | None = None,
    ) -> None:
        """Write table `name` (rows in the given order; NaN in float columns is null).

        Args:
            name: of `schemas.SCHEMAS`.
            data: its columns, or parts of them one after another, so that a long table is never held whole.
            schema: its schema, where that depends on more than the name: see `schemas.sweep_schema`.

        Raises:
            ResultsError: the columns do not fit the schema, or the disk is full.
        """
        self._check_open()
        path = self.path / f"{name}.parquet"
        size, rows = write_parquet(path, name, data, schema)
        self.manifest["files"][path.name] = {"bytes": size, "rows": rows}
        self._write_manifest()

    @property
    def complete(self) -> bool:
        """Whether all that `finish` insists on was written, now or before an interruption, and is whole."""
        files = self.manifest["files"]
        return set(self.required) <= set(files) and all(self._is_whole(name) for name in files)

    def _is_whole(self, name: str) -> bool:
        """Whether a file is there as the manifest has it."""
        entry, path = self.manifest["files"].get(name), self.path / name
        if entry is None or not path.is_file() or path.stat().st_size != entry["bytes"]:
            return False
        return "sha256" not in entry or _entry(path.read_bytes()) == entry

    def finish(self) -> None:
        """Mark the folder finished, as its last write, and give the lock back.

        Raises:
            ResultsError: a required file was not written.
        """
        self._check_open()
        for name in self.required:
            if name not in self.manifest["files"]:
                raise ResultsError(
                    self.path / name,
                    f"not written, expected in every finished {self.kind}.",
                    "Write it before finish().",
                )
        self._close("finished", None)

    def fail(self, message: str, *, resumable: bool = True) -> None:
        """Mark the folder failed, with the reason; what is there stays readable.

        Args:
            message: why.
            resumable: whether what stopped it may be gone the next time.
        """
        self._check_open()
        self._close("failed", message, resumable)

    def abandon(self) -> None:
        """Give the lock back without a word: the folder reads as interrupted, and can be resumed."""
        self._lock.release()

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Mark failed on an exception; see the class."""
        if self.manifest["status"] == "running" and isinstance(error, Exception):
            with contextlib.suppress(ResultsError):  # the disk may be what failed
                self.fail(f"{type(error).__name__}: {error}", resumable=can_pass(error))
        self.abandon()

    def _close(self, status: str, error: str | None, resumable: bool | None = None) -> None:
        ended = {**self.manifest, "status": status, "finished": _now(), "error": error}
        ended["resumable"] = resumable
        # Memory follows the disk: if this write fails, the folder still says running.
        write_text(self.path / "manifest.json", json_text(ended))
        self.manifest = ended
        self._lock.release()

    def _write_manifest(self) -> None:
        self._check_open()
        write_text(self.path / "manifest.json", json_text(self.manifest))
        self._written_s = time.monotonic()

    def _check_open(self) -> None:
        status = self.manifest["status"]
        if status != "running":
            raise ResultsError(
                self.path,
                f"found a {status} {self.kind}, expected a running one.",
                "A folder that has ended is not written to again; create a new one.",
            )


class RunWriter(FolderWriter):
    """Writes a run folder."""

    kind = "run"
    required = ("scorecard.json",)

    def write_scorecard(self, scorecard: Mapping[str, Any]) -> None:
        """Write scorecard.json (NaN and infinity become null, keys keep their order)."""
        self.write_text("scorecard.json", json_text(scorecard))


class SweepWriter(FolderWriter):
    """Writes a sweep folder: sweep.parquet and one scorecard per cell."""

    kind = "sweep"
    required = ("sweep.parquet",)

    def write_cell(
        self, cell: int, scorecard: Mapping[str, Any], paired: Mapping[str, Any] | None = None
    ) -> None:
        """Write cells/NNN/scorecard.json and paired.parquet; a resumed sweep need not compute them again."""
        folder = f"cells/{cell:03d}"
        if paired is not None:
            file = self.path / folder / "paired.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            size, rows = write_parquet(file, "paired", paired)
            self.manifest["files"][f"{folder}/{file.name}"] = {"bytes": size, "rows": rows}
        self.write_text(f"{folder}/scorecard.json", json_text(scorecard))

    def has_cell(self, cell: int) -> bool:
        """Whether the cell was written, now or before an interruption, and is whole."""
        return self._is_whole(f"cells/{cell:03d}/scorecard.json")

    def cell(self, cell: int) -> dict[str, Any]:
        """A cell's scorecard as it was written.

        Raises:
            OSError, ValueError: it was not, or is damaged; see `has_cell`.
        """
        text = (self.path / f"cells/{cell:03d}/scorecard.json").read_text(encoding="utf-8")
        scorecard: dict[str, Any] = json.loads(text)
        return scorecard


def _entry(content: str | bytes) -> dict[str, Any]:
    """A text file's entry in the manifest."""
    raw = content.encode() if isinstance(content, str) else content
    return {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def _spent() -> tuple[float, float]:
    """Seconds since some moment, and CPU seconds of this process and of the workers that have ended."""
    used = os.times()
    return time.monotonic(), used.user + used.system + used.children_user + used.children_system


def _peak_gib() -> float | None:
    """The most memory that this process, or a worker that has ended, has held; None where nobody counts."""
    if sys.platform == "win32":
        return None
    import resource

    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(most * (1 if sys.platform == "darwin" else 1024) / 2**30, 3)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


def _taken(out: Path) -> ResultsError:
    return ResultsError(
        out,
        "found files there, expected a folder that does not exist yet.",
        f"Choose another folder; {free_folder(out)} is free.",
    )
