"""All runs and sweeps of a folder, a line each: what has not changed since the last time is not read again.

What is known of a folder is kept beside the results, in `DIR/.laser-ab/index.json`, under the size and time
of its manifest and scorecard. A folder whose tables are damaged later lists as finished until it is opened.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from simulator.results.errors import ResultsError
from simulator.results.files import is_locked, json_text, write_text
from simulator.results.read import Run, Sweep, read_folder, result_folders
from simulator.results.scorecard import arms_of, primary

BESIDE = ".laser-ab"  # in a folder of results: what belongs to none of them
_VERSION = 2  # of the kept lines; those of another are made anew
_STAMPED = ("manifest.json", "scorecard.json")


@dataclass(frozen=True)
class Listed:
    """A run or sweep in a list; None where unknown.

    Attributes:
        path: below the listed folder; "." for that folder itself.
        kind: "run" or "sweep".
        name, created, status, seed: of its manifest.
        arms: their names, control first as the manifest has them.
        axes: what a sweep varies, in words; empty for a run.
        verdict: over all treatments; of a sweep, what it answers in short.
        metric, arm: the primary metric and the first treatment, of which are
        lift, ci_low, ci_high, true_lift: fractions.
        enough: whether there is data enough to show the estimate.
        requests, users: of the experiment.
    """

    path: str
    kind: str
    name: str
    created: str
    status: str
    seed: int | None = None
    arms: tuple[str, ...] = ()
    axes: str = ""
    verdict: str | None = None
    metric: str | None = None
    arm: str | None = None
    lift: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    true_lift: float | None = None
    enough: bool = True
    requests: int | None = None
    users: int | None = None


def list_results(directory: Path | str, *, keep: bool = True) -> list[Listed]:
    """Every run and sweep at or directly below a directory (two levels), newest first.

    Args:
        directory: where to look, or a result itself.
        keep: whether to write what was found for the next time.
    """
    root = Path(directory)
    known = _kept(root)
    fresh: dict[str, dict[str, Any]] = {}
    for path in result_folders(root):
        name = str(path.relative_to(root))
        stamp, before = _stamp(path), known.get(name)
        if before is not None and before["stamp"] == stamp:
            fresh[name] = before
        else:
            fresh[name] = {"stamp": stamp, "line": asdict(_line(root, path))}
    if keep and fresh != known:
        _keep(root, fresh)
    found = [_alive(root, _listed(entry["line"])) for entry in fresh.values()]
    return sorted(found, key=lambda line: (line.created, line.path), reverse=True)


def _stamp(path: Path) -> list[list[int]]:
    """Size and time of what a line is read from."""
    stats = [(path / name).stat() for name in _STAMPED if (path / name).is_file()]
    return [[stat.st_mtime_ns, stat.st_size] for stat in stats]


def _line(root: Path, path: Path) -> Listed:
    folder = read_folder(path)
    manifest = folder.manifest
    line = Listed(
        path=str(path.relative_to(root)),
        kind="sweep" if isinstance(folder, Sweep) else "run",
        name=folder.name,
        created=folder.created,
        status=folder.status,
        seed=manifest.get("seed") if isinstance(manifest.get("seed"), int) else None,
        arms=tuple(str(arm.get("name")) for arm in folder.arms),
    )
    if isinstance(folder, Sweep):
        words = (f"{axis.short} ({len(axis.values)} values)" for axis in folder.axes)
        return replace(line, axes=", ".join(words), verdict=manifest.get("answer"))
    return _judged(line, folder)


def _judged(line: Listed, run: Run) -> Listed:
    """The line with what the run's scorecard says; as it is where there is none, or a damaged one."""
    try:
        card = run.scorecard or {}
        effect, arms = primary(card), arms_of(card).values()
        if effect is None:
            return line
        return replace(
            line,
            verdict=str(card["verdict"]["decision"]),
            metric=effect.metric,
            arm=effect.arm,
            lift=effect.lift,
            ci_low=effect.ci_low,
            ci_high=effect.ci_high,
            true_lift=effect.true_lift,
            enough=effect.enough,
            requests=sum(int(arm["requests"]) for arm in arms),
            users=sum(int(arm["units"]) for arm in arms),
        )
    except (ResultsError, KeyError, TypeError, ValueError):
        return line


def _alive(root: Path, line: Listed) -> Listed:
    """The line with the status that changes without a file: whether somebody is at work."""
    if line.status not in ("running", "interrupted"):
        return line
    return replace(line, status="running" if is_locked(root / line.path) else "interrupted")


def _listed(line: Mapping[str, Any]) -> Listed:
    return Listed(**{**line, "arms": tuple(line["arms"])})


def _kept(root: Path) -> dict[str, dict[str, Any]]:
    """What was kept; nothing where there is none, or it is not to be read."""
    try:
        kept = json.loads((root / BESIDE / "index.json").read_text(encoding="utf-8"))
        entries: dict[str, dict[str, Any]] = kept["lines"] if kept["version"] == _VERSION else {}
        for entry in entries.values():
            _listed(entry["line"])
        return entries
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep(root: Path, lines: Mapping[str, dict[str, Any]]) -> None:
    """Keep the lines; where that cannot be, the next listing takes longer. Never inside of a result."""
    if "." in lines or not lines:
        return
    with contextlib.suppress(OSError, ResultsError):
        (root / BESIDE).mkdir(exist_ok=True)
        write_text(root / BESIDE / "index.json", json_text({"version": _VERSION, "lines": lines}))
