"""Tags and notes on runs and sweeps, kept beside them: a finished folder never changes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dashboard.work.places import beside
from simulator.results.files import json_text, write_text
from simulator.results.index import BESIDE

FILE = "notes.json"
LONGEST = 2000  # characters of a note


@dataclass(frozen=True)
class Note:
    """What somebody wrote about a result."""

    tags: tuple[str, ...] = ()
    text: str = ""


def read_notes(root: Path) -> dict[str, Note]:
    """All notes, by the result's path below `root`; none where there is no such file, or it is damaged."""
    try:
        kept = json.loads((root / BESIDE / FILE).read_text(encoding="utf-8"))
        return {path: Note(tuple(map(str, one["tags"])), str(one["text"])) for path, one in kept.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_note(root: Path, path: str, tags: str, text: str) -> Note:
    """Keep a note on a result; an empty one is taken away.

    Args:
        root: the results folder.
        path: the result's, below it.
        tags: separated by commas or spaces.
        text: cut at LONGEST characters.

    Raises:
        DashboardError: nothing may be written here.
        ResultsError: the disk is full.
    """
    words = dict.fromkeys(tags.replace(",", " ").split())
    note = Note(tuple(words), text.strip()[:LONGEST])
    notes = read_notes(root) | {path: note}
    kept = {name: asdict(one) for name, one in sorted(notes.items()) if one != Note()}
    write_text(beside(root) / FILE, json_text(kept))
    return note
