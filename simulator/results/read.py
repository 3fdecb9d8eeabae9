"""Reading run and sweep folders, whatever state they are in.

`read_run` never fails on a folder that exists: a damaged one comes back with status "damaged" and
the `problem`. Tables are read when asked for, and those reads raise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simulator.results.axes import Axis, axes_of, cells_of
from simulator.results.errors import ResultsError
from simulator.results.files import is_locked
from simulator.results.schemas import SCHEMA_VERSION, SCHEMAS, SCORECARD_VERSION

Status = Literal["running", "interrupted", "finished", "failed", "damaged"]
CONFIG = "experiment.toml"  # the resolved file, of which a folder is the result


@dataclass(frozen=True)
class Folder:
    """A run or sweep folder as found.

    Attributes:
        path: the folder.
        status: running (a live process holds its lock), interrupted (it says running, no process
            does), finished, failed, or damaged.
        manifest: as written; empty if unreadable.
        problem: why it is damaged; None otherwise.
    """

    path: Path
    status: Status
    manifest: dict[str, Any]
    problem: ResultsError | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The experiment's name, or the folder's."""
        return str(self.manifest.get("name") or self.path.name)

    @property
    def created(self) -> str:
        """UTC time of creation, ISO 8601; empty if unknown."""
        return str(self.manifest.get("created") or "")

    @property
    def stages(self) -> list[dict[str, Any]]:
        """Progress: {"name", "done", "total"} of each stage begun, in order."""
        return list(self.manifest.get("stages") or [])

    @property
    def arms(self) -> list[dict[str, Any]]:
        """The manifest's arms, in order; the control is the first whose role is "control"."""
        return [arm for arm in self.manifest.get("arms") or [] if isinstance(arm, dict)]

    def has(self, file: str) -> bool:
        """Whether a file of that name is in the folder."""
        return (self.path / file).is_file()

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read table `name` (a key of `schemas.SCHEMAS`), all its columns or some.

        Raises:
            ResultsError: the file is missing, damaged or has other columns.
        """
        with self.opened(name) as file:
            return file.read(columns=list(columns) if columns is not None else None)

    @contextmanager
    def opened(self, name: str) -> Iterator[pq.ParquetFile]:
        """Table `name` as an open file, to read of it what fits into memory: row groups, some columns.

        Raises:
            ResultsError: as `table` does, also for what the block meets in the file.
        """
        path = self.path / f"{name}.parquet"
        try:
            with pq.ParquetFile(path) as file:
                absent = sorted(set(SCHEMAS[name].names) - set(file.schema_arrow.names))
                if absent:
                    raise ResultsError(path, f"found no columns {absent}, expected them.", _rerun(path))
                yield file
        except FileNotFoundError:
            raise ResultsError(path, f"not found, expected in a {self.status} run.", self._advice()) from None
        except (pa.ArrowException, OSError) as error:
            raise ResultsError(
                path, f"is damaged ({_short(error)}), expected a Parquet file.", self._advice()
            ) from error

    def query(self, sql: str) -> pa.Table:
        """Run DuckDB SQL over the folder's tables, which go by their names.

        Raises:
            ResultsError: the query failed, for example on a damaged or missing table.
        """
        import duckdb  # 0.2 s that a report does not need

        with duckdb.connect() as connection:
            for name in SCHEMAS:
                path = self.path / f"{name}.parquet"
                if path.is_file():
                    quoted = str(path).replace("'", "''")
                    connection.execute(f"create view {name} as select * from read_parquet('{quoted}')")
            try:
                return connection.sql(sql).to_arrow_table()
            except duckdb.Error as error:
                raise ResultsError(self.path, f"query failed ({_short(error)}).", self._advice()) from error

    @property
    def resumable(self) -> bool:
        """Whether it stopped for a reason that may be gone, so that it can be continued."""
        stopped = self.status == "failed" and self.manifest.get("resumable") is not False
        return self.status == "interrupted" or stopped

    @property
    def next_command(self) -> str:
        """What ends an interrupted or failed experiment: to continue it, or to begin it anew."""
        if self.resumable:
            return f"laser-ab {self.manifest['kind']} --resume {quote(str(self.path))}"
        return _again(self.path)

    def _advice(self) -> str:
        if self.status == "running":
            return "The run has not come this far yet; look again later."
        if self.resumable:
            return f"Continue it: {self.next_command}"
        return _rerun(self.path)


@dataclass(frozen=True)
class Run(Folder):
    """A run folder."""

    @cached_property
    def scorecard(self) -> dict[str, Any] | None:
        """The scorecard; None where the run did not get that far.

        Raises:
            ResultsError: the file is there and damaged, or of another schema.
        """
        return _read_scorecard(self.path / "scorecard.json")


@dataclass(frozen=True)
class Sweep(Folder):
    """A sweep folder."""

    def cell(self, cell: int) -> dict[str, Any] | None:
        """The scorecard of one cell; None if it was not computed.

        Raises:
            ResultsError: the file is there and damaged, or of another schema.
        """
        return _read_scorecard(self.path / f"cells/{cell:03d}/scorecard.json")

    def paired(self, cell: int) -> dict[str, dict[str, NDArray[Any]]] | None:
        """By treatment, the columns of a cell's table `paired`; None where it has none.

        Raises:
            ResultsError: the file is there and damaged.
        """
        folder = replace(self, path=self.path / f"cells/{cell:03d}")
        if not folder.has("paired.parquet"):
            return None
        table = folder.table("paired")
        arms = table["arm"].cast(pa.string()).to_numpy()
        columns = {name: table[name].to_numpy() for name in table.column_names if name != "arm"}
        return {str(arm): {k: v[arms == arm] for k, v in columns.items()} for arm in dict.fromkeys(arms)}

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What it varies; none where it was interrupted before that was known."""
        return axes_of(self.manifest)

    @property
    def places(self) -> list[dict[str, Any]]:
        """Every cell's settings by key, in the cells' order: listed one by one, or the axes' grid."""
        listed = self.manifest.get("listed")
        return listed or (cells_of(self.axes) if self.axes else [])

    @property
    def cells(self) -> list[int]:
        """The cells that have a scorecard, ascending."""
        found = self.path.glob("cells/*/scorecard.json")
        return sorted(int(path.parent.name) for path in found if path.parent.name.isdigit())


def read_manifest(path: Path) -> dict[str, Any]:
    """Read FOLDER/manifest.json.

    Raises:
        ResultsError: it is missing, not JSON, or of a schema this version does not know.
    """
    file = path / "manifest.json"
    manifest = _read_json(file)
    _check_version(file, manifest, SCHEMA_VERSION)
    for key, allowed in (("kind", ("run", "sweep")), ("status", ("running", "finished", "failed"))):
        if manifest.get(key) not in allowed:
            raise ResultsError(
                file,
                f"found {key} {manifest.get(key)!r}, expected one of {', '.join(allowed)}.",
                _rerun(file),
            )
    _check_shape(file, manifest)
    return manifest


def _read_scorecard(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    card = _read_json(file)
    _check_version(file, card, SCORECARD_VERSION)
    return card


def _check_version(file: Path, document: dict[str, Any], expected: int) -> None:
    version = document.get("schema_version")
    if version != expected:
        raise ResultsError(
            file,
            f"found schema version {version}, expected {expected}.",
            "Read it with the release that wrote it, or run the experiment again.",
        )


def _again(folder: Path) -> str:
    """The command that makes a folder's experiment anew: by the folder's own file, where it is there."""
    kind = "sweep" if (folder / "cells").is_dir() else "run"
    config = folder / CONFIG
    return f"laser-ab {kind} {quote(str(config)) if config.is_file() else 'CONFIG'}"


def _rerun(path: Path) -> str:
    """The same as a sentence; `path` is the folder, or a file in it or in its cells."""
    around = [folder for folder in (path, *path.parents[:3]) if (folder / CONFIG).is_file()]
    return f"Run the experiment again: {_again(around[0] if around else path)}"


def _check_shape(file: Path, manifest: dict[str, Any]) -> None:
    files, stages = manifest.get("files") or {}, manifest.get("stages") or []
    if not isinstance(files, dict) or not all(
        isinstance(entry, dict) and isinstance(entry.get("bytes"), int) for entry in files.values()
    ):
        raise ResultsError(
            file, "found files of another shape, expected {name: {bytes: number}}.", _rerun(file)
        )
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise ResultsError(file, "found stages of another shape, expected a list of objects.", _rerun(file))


def read_run(path: Path | str) -> Run:
    """Read the run folder at `path`, in whatever state; damage shows in its `status`.

    Raises:
        ResultsError: there is no such folder, it is no run folder, or it is a sweep.
    """
    path = Path(path)
    folder = _read(path, Run)
    if folder.manifest.get("kind") == "sweep":
        named = quote(str(path))
        advice = f"Look at it: laser-ab report {named}. Continue it: laser-ab sweep --resume {named}"
        raise ResultsError(path, "found a sweep, expected a run.", advice)
    return folder


def read_sweep(path: Path | str) -> Sweep:
    """Read the sweep folder at `path`, in whatever state; damage shows in its `status`.

    Raises:
        ResultsError: there is no such folder, it is no sweep folder, or it is a run.
    """
    path = Path(path)
    folder = _read(path, Sweep)
    if folder.manifest.get("kind") == "run":
        raise ResultsError(
            path, "found a run, expected a sweep.", "Make one: laser-ab sweep CONFIG --out DIR."
        )
    return folder


def read_folder(path: Path | str) -> Run | Sweep:
    """Read the folder at `path` as what its manifest says it is; as a run where that cannot be read.

    Raises:
        ResultsError: there is no such folder, or it is neither.
    """
    run = _read(Path(path), Run)
    if run.manifest.get("kind") == "sweep":
        return Sweep(run.path, run.status, run.manifest, run.problem)
    return run


def list_runs(directory: Path | str) -> list[Run]:
    """All run folders at or directly below a directory (two levels), newest first."""
    found = [read_folder(path) for path in result_folders(Path(directory))]
    return _newest_first([run for run in found if isinstance(run, Run)])


def list_sweeps(directory: Path | str) -> list[Sweep]:
    """All sweep folders at or directly below a directory (two levels), newest first."""
    found = [read_folder(path) for path in result_folders(Path(directory))]
    return _newest_first([sweep for sweep in found if isinstance(sweep, Sweep)])


F = TypeVar("F", bound=Folder)


def _newest_first(folders: list[F]) -> list[F]:
    return sorted(folders, key=lambda folder: (folder.created, folder.path.name), reverse=True)


def result_folders(directory: Path) -> list[Path]:
    """The run and sweep folders at or directly below a directory (two levels), by name."""
    if _looks_like_results(directory):
        return [directory]
    found: list[Path] = []
    for path in _subfolders(directory):
        found.extend([path] if _looks_like_results(path) else filter(_looks_like_results, _subfolders(path)))
    return found


def _subfolders(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # not there, or not ours to read: nothing to list
        return []


def _looks_like_results(path: Path) -> bool:
    marks = ("manifest.json", "scorecard.json", "served.parquet", "sweep.parquet")
    return any((path / mark).is_file() for mark in marks)


def results_around(file: Path) -> Path | None:
    """The run or sweep folder that a file is, or would be, inside of; None where there is none."""
    inside = file.absolute().resolve().parents
    marks = ("manifest.json", "run.lock")
    return next((path for path in inside if any((path / mark).is_file() for mark in marks)), None)


def _read(path: Path, kind: type[F]) -> F:
    if not path.is_dir():
        found = "found a file" if path.exists() else "no such folder"
        raise ResultsError(path, f"{found}, expected a run folder.", "Check the path; list it with ls.")
    if not _looks_like_results(path):
        raise ResultsError(
            path, "found no manifest.json, expected a run folder.", "Give the folder that laser-ab run wrote."
        )
    try:
        manifest = read_manifest(path)
    except ResultsError as problem:
        return kind(path, "damaged", {}, problem)
    if manifest["status"] == "running":
        return kind(path, "running" if is_locked(path) else "interrupted", manifest)
    problem_found = _damage(path, manifest) if manifest["status"] == "finished" else None
    if problem_found is not None:
        return kind(path, "damaged", manifest, problem_found)
    return kind(path, manifest["status"], manifest)


def _damage(path: Path, manifest: dict[str, Any]) -> ResultsError | None:
    """The first file of a finished folder that is not what its manifest says."""
    files = manifest.get("files") or {}
    needed = "scorecard.json" if manifest["kind"] == "run" else "sweep.parquet"
    if needed not in files:
        return ResultsError(
            path / "manifest.json", f"lists no {needed}, expected it in a finished folder.", _rerun(path)
        )
    for name, entry in files.items():
        file = path / name
        if not file.is_file():
            return ResultsError(file, "is missing, expected in this finished run.", _rerun(path))
        size, expected = file.stat().st_size, entry["bytes"]
        if size != expected:
            return ResultsError(file, f"found {size:,} bytes, expected {expected:,}.", _rerun(path))
        if "sha256" in entry and hashlib.sha256(file.read_bytes()).hexdigest() != entry["sha256"]:
            return ResultsError(file, "found another text than the run wrote.", _rerun(path))
    try:
        if (path / "scorecard.json").is_file():
            _read_json(path / "scorecard.json")
    except ResultsError as problem:
        return problem
    return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(path, "is missing, expected in every run folder.", _rerun(path)) from None
    except (OSError, ValueError) as error:
        raise ResultsError(path, f"is damaged ({_short(error)}), expected JSON.", _rerun(path)) from error
    if not isinstance(value, dict):
        raise ResultsError(path, f"found a {type(value).__name__}, expected a JSON object.", _rerun(path))
    return value


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
