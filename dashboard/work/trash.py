"""Deleting a result, and taking that back: it is moved aside, and gone only when the trash is emptied."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dashboard.work.places import DashboardError, beside, within
from simulator.results.files import is_locked, json_text, write_text
from simulator.results.index import BESIDE


@dataclass(frozen=True)
class Deleted:
    """A result in the trash: its key there, where it was below the results folder, and when it went."""

    key: str
    path: str
    when: str


def delete(root: Path, path: str) -> Deleted:
    """Move a result into the trash.

    Raises:
        DashboardError: nothing may be written here, it is no result of this folder, or it is being worked on.
    """
    folder = within(root, path)
    if not (folder / "manifest.json").is_file():
        raise DashboardError(f"{path}: found no manifest.json, expected a run or sweep. Reload the page.")
    if is_locked(folder):
        raise DashboardError(f"{path}: found a process at work in it. Stop it first.")
    key = uuid.uuid4().hex
    place = beside(root) / "trash" / key
    place.mkdir(parents=True)
    deleted = Deleted(key, path, datetime.now(UTC).isoformat(timespec="seconds"))
    write_text(place / "deleted.json", json_text({"path": path, "when": deleted.when}))
    folder.rename(place / "result")
    return deleted


def trashed(root: Path) -> list[Deleted]:
    """What is in the trash, the latest first."""
    found = []
    for place in (root / BESIDE / "trash").glob("*/deleted.json"):
        try:
            one = json.loads(place.read_text(encoding="utf-8"))
            found.append(Deleted(place.parent.name, str(one["path"]), str(one["when"])))
        except (OSError, ValueError, KeyError, TypeError):  # half-deleted: emptying takes it away
            continue
    return sorted(found, key=lambda one: one.when, reverse=True)


def restore(root: Path, key: str) -> str:
    """Put a result back where it was; returns its path below the results folder.

    Raises:
        DashboardError: it is not in the trash, or its place is taken.
    """
    one = next((one for one in trashed(root) if one.key == key), None)
    if one is None:
        raise DashboardError("It is no longer in the trash. Reload the page.")
    place, to = beside(root) / "trash" / key, within(root, one.path)
    if to.exists():
        raise DashboardError(f"{one.path}: found another folder of that name. Rename that one first.")
    to.parent.mkdir(parents=True, exist_ok=True)
    (place / "result").rename(to)
    shutil.rmtree(place)
    return one.path


def empty(root: Path) -> int:
    """Delete for good what is in the trash; returns how many results that were."""
    count = len(trashed(root))
    shutil.rmtree(beside(root) / "trash", ignore_errors=True)
    return count
