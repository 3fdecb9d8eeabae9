"""Whether an interrupted folder may be continued: only what began it may end it.

A run's tables are a function of its file, its inputs and the program. `fingerprint` goes into the manifest
when a folder is made; `check_unchanged` compares it with what is there now.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from laser.scoring.runtime import resolve_device
from simulator.experiment.checkpoints import digest_of
from simulator.experiment.config import ExperimentConfig, load_config, to_toml
from simulator.experiment.environment import versions
from simulator.experiment.interrupts import Interrupted
from simulator.results.read import Folder

CONFIG = "experiment.toml"
WORK = "work"  # checkpoints and stores: what a finished run no longer needs
# Another release of these may round differently, or mean something else by the same file.
PACKAGES = ("laser-ab", "torch", "numpy")


class ResumeError(ValueError):
    """A folder that cannot be continued: found, expected, what to do."""


def fingerprint(config: ExperimentConfig) -> dict[str, Any]:
    """What a resumed run must find unchanged.

    Returns:
        `files`: SHA-256 by path, of the resolved experiment file and of what it names; `device`.
    """
    files = {CONFIG: hashlib.sha256(to_toml(config).encode()).hexdigest()}
    return {"files": files | _digests(config), "device": str(resolve_device(config.experiment.device))}


def check_unchanged(folder: Folder) -> ExperimentConfig:
    """The configuration of an interrupted or failed folder that may be continued.

    Raises:
        ResumeError: it is running or damaged, or a file, a version or the device is not what it began with.
        ConfigError: its experiment file is no longer valid.
    """
    if folder.problem is not None:
        raise folder.problem
    kind = folder.manifest["kind"]
    if folder.status == "running":
        raise ResumeError(
            f"{folder.path}: found a {kind} that is still running, expected an interrupted one. Let it end."
        )
    began = folder.manifest.get("inputs")
    if not began or not folder.has(CONFIG):
        raise ResumeError(
            f"{folder.path}: found no record of its inputs, expected one in manifest.json, and {CONFIG} "
            f"beside it. Start it again: laser-ab {kind} CONFIG --out DIR."
        )
    _check_config(folder, began["files"][CONFIG])
    # The folder's file is resolved: today's environment must not change yesterday's run.
    config = load_config(folder.path / CONFIG, environment={})
    _check_inputs(folder, began, config)
    return config


@contextmanager
def continued_by(kind: str, folder: Path) -> Iterator[None]:
    """Tell whoever is interrupted, or fails, how to go on.

    Args:
        kind: run or sweep.
    """
    command = f"laser-ab {kind} --resume {quote(str(folder))}"
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(command) from error
    except Exception as error:
        error.add_note(f"When what stopped it is gone, continue it: {command}")
        raise


def _digests(config: ExperimentConfig) -> dict[str, str]:
    """Of the files that an experiment reads besides its own."""
    paths = [Path(arm.checkpoint) for arm in config.arms.values() if arm.checkpoint is not None]
    if config.experiment.service_times == "profile":
        paths.append(config.experiment.profile_path)
    # A missing one is refused where it is read, which says more about it.
    return {str(path): digest_of(path) if path.is_file() else "missing" for path in paths}


def _check_config(folder: Folder, expected: str) -> None:
    path, original = folder.path / CONFIG, folder.path / WORK / CONFIG
    found = digest_of(path)
    if found == expected:
        return
    difference, remedy = "", ""
    if original.is_file() and digest_of(original) == expected:
        before, now = (p.read_text(encoding="utf-8").splitlines() for p in (original, path))
        lines = list(difflib.unified_diff(before, now, n=0, lineterm=""))[2:]
        difference = "\n  " + "\n  ".join(line for line in lines if not line.startswith("@@")) + "\n"
        remedy = f"Put it back: cp {original} {path}; or run"
    raise ResumeError(
        f"{path}: found it edited since the {folder.manifest['kind']} began (SHA-256 {found[:12]}, expected "
        f"{expected[:12]}).{difference or ' '}{remedy or 'Run'} the edited file on its own: {_again(folder)}."
    )


def _check_inputs(folder: Folder, began: dict[str, Any], config: ExperimentConfig) -> None:
    now: dict[str, Any] = {"device": str(resolve_device(config.experiment.device))}
    before: dict[str, Any] = {"device": began["device"]}
    current, recorded = versions(), folder.manifest.get("versions") or {}
    for name in PACKAGES:
        now[name], before[name] = current.get(name), recorded.get(name)
    current_files = _digests(config)
    for path, expected in began["files"].items():
        if path != CONFIG:
            before[path], now[path] = _short(expected), _short(current_files[path])
    changed = [
        f"  {name}: {before[name]} when it began, {found} now"
        for name, found in now.items()
        if found != before[name]
    ]
    if changed:
        raise ResumeError(
            f"{folder.path}: found other inputs than the {folder.manifest['kind']} began with, expected the "
            "same:\n" + "\n".join(changed) + f"\nBring them back, or start it again: {_again(folder)}."
        )


def _short(digest: str) -> str:
    return digest if digest == "missing" else f"SHA-256 {digest[:12]}"


def _again(folder: Folder) -> str:
    return f"laser-ab {folder.manifest['kind']} {folder.path / CONFIG} --out DIR"
