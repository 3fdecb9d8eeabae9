"""The manifest of a log folder: what it holds, where it came from, what was left out and what was invented.

A folder without one was never finished. Only JSON is read here, so that an experiment file that names a
log is checked in milliseconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.traffic.trace import TraceError

MANIFEST = "manifest.json"
#: 2: histories may be apart from the impressions, and columns of impressions.parquet may be "recorded".
SCHEMA_VERSION = 2
_READABLE = (1, 2)
BEHAVIOURS, REQUESTS = "behaviours.parquet", "requests.parquet"
IMPRESSIONS, CATALOGUE, RESPONSE = "impressions.parquet", "catalogue.parquet", "response.parquet"
#: How the sentence of "invented" begins where conversions were drawn.
NO_CONVERSIONS = "The log names no conversions"
_KEYS = ("epoch_ms", "days", "first_date", "last_date", "files", "invented", "sizes")


def conversions_drawn(manifest: Mapping[str, Any]) -> bool:
    """Whether the log's conversions are drawn, a coin for each click: no fit of them can be judged."""
    return any(sentence.startswith(NO_CONVERSIONS) for sentence in manifest["invented"])


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished log folder.

    Raises:
        TraceError: no such folder, no manifest, another kind of folder, or a version not known here.
    """
    path = folder / MANIFEST
    advice = "Make one: laser-ab import table MAP.toml --out LOG."
    if not folder.is_dir():
        raise TraceError(f"{folder} does not exist, expected a log folder. {advice}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TraceError(f"{folder} has no {MANIFEST}, expected an imported log. {advice}") from None
    except (OSError, ValueError) as problem:
        raise TraceError(
            f"{path} cannot be read ({problem}), expected JSON. Import the log anew."
        ) from problem
    kind = manifest.get("kind") if isinstance(manifest, dict) else None
    if kind != "log":
        raise TraceError(f'{path}: kind is {kind!r}, expected "log". {advice}')
    if manifest.get("schema_version") not in _READABLE:
        raise TraceError(
            f"{path}: schema_version is {manifest.get('schema_version')!r}, expected at most "
            f"{SCHEMA_VERSION}. Import the log anew with this version."
        )
    missing = [key for key in _KEYS if key not in manifest]
    if missing:
        raise TraceError(
            f"{path} lacks {', '.join(missing)}, expected a whole manifest. Import the log anew."
        )
    found: dict[str, Any] = manifest
    return found


def file_entry(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, as manifests state them."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def table_paths(folder: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """Every file that a run reads of a log folder, its manifest first."""
    return [folder / name for name in (MANIFEST, *manifest["files"])]


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Compare every file of the folder with what the manifest says of it.

    Raises:
        TraceError: a file is missing or has changed.
    """
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise TraceError(f"{path} is missing, expected it in the log. Import the log anew.")
        if file_entry(path) != entry:
            raise TraceError(
                f"{path} is not the file that was imported (it has changed). Import the log anew."
            )
