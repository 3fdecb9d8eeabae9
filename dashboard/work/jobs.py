"""Work as processes that outlive the page and the server: started, stopped, resumed, found again.

    DIR/.laser-ab/jobs/KEY/experiment.toml   the file it was started with
    DIR/.laser-ab/jobs/KEY/job.json          its process, command and folder
    DIR/.laser-ab/jobs/KEY/log.txt           what it printed

A process is known by its number and the moment it began, since numbers are given again. Where that moment
cannot be read (no /proc and no ps), a job counts as ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dashboard.work.commands import command
from dashboard.work.places import DashboardError, beside, refuse_read_only, within
from simulator.results.files import json_text, write_text
from simulator.results.index import BESIDE
from simulator.results.read import read_folder

EXPERIMENTS = ("run", "sweep")  # commands that make a result; others are asked about one
_LOG_BYTES = 20_000  # of a log's end that is shown
# Started by this server: asked now and then, so that none that has ended stays behind as a zombie.
_own: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Job:
    """A process at work on a result, or one that was.

    Attributes:
        key: of its folder.
        path: the result's, below the results folder.
        arguments: of laser-ab.
        pid: its process.
        began: when that began, as the system tells it.
    """

    key: str
    path: str
    arguments: tuple[str, ...]
    pid: int
    began: str


def arguments_of(kind: str, file: Path, sets: Sequence[str], over: Sequence[str], out: Path) -> list[str]:
    """The arguments of laser-ab that start an experiment.

    Args:
        kind: "run" or "sweep".
        file: the experiment's.
        sets: KEY=VALUE, in place of the file's.
        over: KEY=A,B,C, of a sweep.
        out: the result's folder.
    """
    options = [part for one in sets for part in ("--set", one)]
    options += [part for one in over for part in ("--over", one)]
    return [kind, str(file), *options, "--out", str(out)]


def start(root: Path, kind: str, text: str, sets: Sequence[str], over: Sequence[str], name: str) -> Job:
    """Start an experiment.

    Args:
        root: the results folder.
        kind, sets, over: as of `arguments_of`.
        text: the experiment file.
        name: of the result's folder, which must not exist.

    Raises:
        DashboardError: nothing may be started here, or the name is taken or leads outside.
    """
    out = within(root, name)
    if out.exists():
        raise DashboardError(f"{name}: found a folder of that name. Choose another name.")
    place = _place(root)
    write_text(place / "experiment.toml", text)
    return _begin(place, name, arguments_of(kind, place / "experiment.toml", sets, over, out))


def draft(root: Path, text: str) -> Path:
    """A file of this text, for commands that check it; the same text has the same file.

    Raises:
        DashboardError: nothing may be written here.
        ResultsError: the disk is full.
    """
    folder = beside(root) / "drafts"
    folder.mkdir(exist_ok=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.toml"
    if not path.is_file():
        write_text(path, text)
    return path


def resume(root: Path, name: str) -> Job:
    """Continue an interrupted or failed experiment where it stood.

    Raises:
        DashboardError: nothing may be started here, or it cannot be continued.
        ResultsError: there is no such result.
    """
    folder = read_folder(within(root, name))
    if not folder.resumable:
        raise DashboardError(f"{name}: found it {folder.status}, expected one that can be continued.")
    kind = str(folder.manifest["kind"])
    return _begin(_place(root), name, [kind, "--resume", str(folder.path)])


def ask(root: Path, name: str, command: str, options: Sequence[str] = ()) -> Job:
    """Ask a command about a run; its answer is kept beside the run.

    Args:
        root: the results folder.
        name: of the run, below it.
        command: of `simulator.results.beside.asked.COMMANDS`.
        options: of the command.

    Raises:
        DashboardError: nothing may be started here, or the name leads outside.
    """
    return _begin(_place(root), name, [command, str(within(root, name)), *options])


def asked_of(root: Path, name: str, command: str) -> Job | None:
    """The latest job that asks a command about a run; None if there was none."""
    return next((job for job in jobs(root) if job.path == name and job.arguments[0] == command), None)


def stop(root: Path, name: str) -> None:
    """Ask the process at work on a result to end at its next checkpoint; asked again, it ends at once.

    Raises:
        DashboardError: nothing may be stopped here, or no process that was started from here is at work.
    """
    refuse_read_only()
    job = job_of(root, name)
    if job is None or not alive(job):
        raise DashboardError(
            f"{name}: found no process at work that this dashboard started. Stop it where it was started, "
            "with Ctrl-C."
        )
    os.kill(job.pid, signal.SIGTERM)


def job_of(root: Path, name: str) -> Job | None:
    """The latest job on a result; None if it was never started or resumed from here."""
    return next((job for job in experiments(root) if job.path == name), None)


def experiments(root: Path) -> list[Job]:
    """Of all jobs, those that make a result."""
    return [job for job in jobs(root) if job.arguments[0] in EXPERIMENTS]


def jobs(root: Path) -> list[Job]:
    """All jobs that were started from here, the latest first."""
    found = []
    for file in (root / BESIDE / "jobs").glob("*/job.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            one = json.loads(file.read_text(encoding="utf-8"))
            job = Job(file.parent.name, one["path"], tuple(one["arguments"]), one["pid"], one["began"])
            found.append((file.stat().st_mtime_ns, job))
    return [job for _, job in sorted(found, key=lambda pair: pair[0], reverse=True)]


def alive(job: Job) -> bool:
    """Whether its process is still at work."""
    if job.pid in _own and _own[job.pid].poll() is not None:
        del _own[job.pid]
    return bool(job.began) and _began(job.pid) == job.began


def seconds_since(root: Path, job: Job) -> float:
    """How long ago a job was started."""
    return max(0.0, time.time() - (root / BESIDE / "jobs" / job.key / "job.json").stat().st_mtime)


def log_of(root: Path, job: Job) -> str:
    """The end of what a job has printed."""
    try:
        with (root / BESIDE / "jobs" / job.key / "log.txt").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _place(root: Path) -> Path:
    place = beside(root) / "jobs" / uuid.uuid4().hex[:12]
    place.mkdir(parents=True)
    return place


def _begin(place: Path, name: str, arguments: list[str]) -> Job:
    """Start the process, in a session of its own: what ends the server does not end it."""
    with (place / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _own[process.pid] = process
    job = Job(place.name, name, tuple(arguments), process.pid, _began(process.pid))
    kept: dict[str, Any] = {key: value for key, value in asdict(job).items() if key != "key"}
    write_text(place / "job.json", json_text(kept))
    return job


def _began(pid: int) -> str:
    """When a process began, in the system's own words; empty if there is none, or none that still works."""
    try:
        # After the name in brackets, which may hold anything: the state first, the start as the 20th.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        if Path("/proc/self/stat").exists():
            return ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=True
        ).stdout.split(maxsplit=1)
        return "" if len(found) < 2 or found[0].startswith("Z") else found[1].strip()
    return ""
