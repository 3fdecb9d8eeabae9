"""What was asked of a finished run afterwards, kept beside it, for a finished run never changes.

    FOLDER/.laser-ab/asked/RUN/COMMAND.json

FOLDER is the one that the run lies in. The commands that keep their answers are those of `COMMANDS`; each
keeps its latest. A run that was made small brings the answers of the whole one, RUN/asked/COMMAND.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.results.files import json_text, write_text
from simulator.results.index import BESIDE
from simulator.results.read import Run
from simulator.results.small import ASKED

COMMANDS = ("breakdown", "channels", "designs", "truth")
# What takes long of a run, as its stages name it and in words.
_LONG = (("train", "training took"), ("serve", "scoring and serving"))


def place_of(run: Path, command: str) -> Path:
    """The file of a command's answer about a run."""
    folder = run.resolve()
    return folder.parent / BESIDE / "asked" / folder.name / f"{command}.json"


def keep(run: Run, command: str, answer: Mapping[str, Any]) -> None:
    """Keep a command's answer about a run.

    Raises:
        ResultsError, OSError: nothing can be written there.
    """
    path = place_of(run.path, command)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json_text({"created": run.created, "answer": answer}))


def kept(run: Run, command: str) -> dict[str, Any] | None:
    """The latest answer of a command about a run; None where there is none, or only of a run that was here
    before.
    """
    try:
        small = run.path / ASKED / f"{command}.json"
        if small.is_file():
            own: dict[str, Any] = json.loads(small.read_text(encoding="utf-8"))
            return own
        found = json.loads(place_of(run.path, command).read_text(encoding="utf-8"))
        answer: dict[str, Any] = found["answer"]
        return answer if found["created"] == run.created else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def seconds_of(run: Run) -> float | None:
    """How long a run's stages took together; None where it trained no model, as others had kept them."""
    spent = {stage["name"]: stage.get("seconds") or 0.0 for stage in run.stages}
    return sum(spent.values()) if spent.get("train", 0.0) >= 1.0 else None


def took(run: Run) -> str:
    """How long a run's training and scoring took, a sentence; empty where it was less than a second, as where
    other runs had kept both.
    """
    spent = {stage["name"]: stage.get("seconds") or 0.0 for stage in run.stages}
    parts = [f"{words} {spent[name]:.0f} s" for name, words in _LONG if spent.get(name, 0.0) >= 1.0]
    return f"In the run itself {', '.join(parts)}." if parts else ""
