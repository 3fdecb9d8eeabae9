"""Whether an interrupted folder may be continued: only what began it may end it.

A run's tables are a function of its file, its inputs (`fingerprint.py`) and the program. The manifest keeps
their digests from when a folder was made; `check_unchanged` compares them with what is there now.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import laser.errors
import seqvault.errors
from laser.out_of_memory import DeviceMemoryError
from simulator.config.load import ExperimentConfig, load_config
from simulator.errors import SimulatorError
from simulator.execution.checkpoints import file_digest
from simulator.execution.fingerprint import changes, device_changes
from simulator.execution.interrupts import Interrupted
from simulator.results.errors import can_pass
from simulator.results.read import CONFIG, Folder

_LESS_MEMORY = (
    "--set arms.NAME.training.batch=N (while training), --set arms.NAME.max_batch=N (while scoring live), "
    "--set arms.NAME.history=N, or another experiment.device"
)
WORK = "work"  # checkpoints and stores: what a finished run no longer needs


class ResumeError(SimulatorError):
    """A folder that cannot be continued: found, expected, what to do."""


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
            f"{folder.path}: found a {kind} that is still running, expected an interrupted one. "
            "Let it end, or stop it."
        )
    began = folder.manifest.get("inputs")
    if not began or not folder.has(CONFIG):
        raise ResumeError(
            f"{folder.path}: found no record of its inputs, expected one in manifest.json, and {CONFIG} "
            f"beside it. Start it again: laser-ab {kind} CONFIG."
        )
    _check_config(folder, began["files"][CONFIG])
    _refuse(folder, changes(folder.manifest))
    # The folder's file is resolved: today's environment must not change yesterday's run.
    config = load_config(folder.path / CONFIG, environment={})
    _refuse(folder, device_changes(folder.manifest, config))
    return config


@contextmanager
def continued_by(kind: str, folder: Path) -> Iterator[None]:
    """Tell whoever is interrupted, or fails, how to go on.

    Args:
        kind: run or sweep.
        folder: its folder.
    """
    command = f"laser-ab {kind} --resume {quote(str(folder))}"
    anew = f"laser-ab {kind} {quote(str(folder / CONFIG))}"
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(command) from error
    except Exception as error:
        if isinstance(error, (laser.errors.PluginError, seqvault.errors.PluginError)):
            # With other code it is another run: `check_unchanged` would refuse it.
            error.add_note(f"When the plug-in is corrected, start again: {anew}")
        elif can_pass(error):
            error.add_note(f"When what stopped it is gone, continue it: {command}")
        else:
            error.add_note(f"It would stop there again. With the cause mended, start anew: {anew}")
        if isinstance(error, DeviceMemoryError):
            # Smaller batches are another experiment: in other batches training ends with other weights.
            error.add_note(
                "If the work is too large for the device, start it again with less at a time: "
                f"{anew} {_LESS_MEMORY}"
            )
        raise


def _check_config(folder: Folder, expected: str) -> None:
    path, original = folder.path / CONFIG, folder.path / WORK / CONFIG
    found = file_digest(path)
    if found == expected:
        return
    difference, remedy = "", ""
    if original.is_file() and file_digest(original) == expected:
        before, now = (p.read_text(encoding="utf-8").splitlines() for p in (original, path))
        lines = list(difflib.unified_diff(before, now, n=0, lineterm=""))[2:]
        difference = "\n  " + "\n  ".join(line for line in lines if not line.startswith("@@")) + "\n"
        remedy = f"Put it back: cp {original} {path}; or run"
    raise ResumeError(
        f"{path}: found it edited since the {folder.manifest['kind']} began (SHA-256 {found[:12]}, expected "
        f"{expected[:12]}).{difference or ' '}{remedy or 'Run'} the edited file on its own: {_again(folder)}."
    )


def _refuse(folder: Folder, changed: list[str]) -> None:
    if changed:
        raise ResumeError(
            f"{folder.path}: found other inputs than the {folder.manifest['kind']} began with, expected the "
            "same:\n" + "\n".join(changed) + f"\nBring them back, or start it again: {_again(folder)}."
        )


def _again(folder: Folder) -> str:
    return f"laser-ab {folder.manifest['kind']} {folder.path / CONFIG} --out DIR"
