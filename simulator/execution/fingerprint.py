"""What a run's tables are a function of besides its experiment file, as digests and names. Start at
`fingerprint`.

A folder's manifest keeps the fingerprint of the beginning; `changes` compares it with what is there now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from laser.scoring.runtime import resolve_device
from simulator.config.load import ExperimentConfig, to_toml
from simulator.config.settings import MODEL_ENTRY_POINTS, STORE_ENTRY_POINTS
from simulator.execution.checkpoints import file_digest
from simulator.execution.environment import hardware, versions
from simulator.logs.manifest import read_manifest, table_paths
from simulator.results.read import CONFIG

# Another release of these may round, draw or write otherwise. The stores' libraries are not among them:
# rocksdict and zstandard give back the bytes that were put in, whatever their release.
PACKAGES = ("laser-ab", "torch", "numpy", "scipy", "numba", "simpy", "pyarrow")
_OWN = ("laser", "seqvault", "simulator")
_MISSING = "missing"


def fingerprint(config: ExperimentConfig, cells: Sequence[ExperimentConfig], device: str) -> dict[str, Any]:
    """What a resumed run must find unchanged, beside the versions in its manifest.

    Args:
        config: the experiment.
        cells: a sweep's experiments, whose axes may name further files and code.
        device: the one it runs on, never "auto".

    Returns:
        `files`: SHA-256 by path, of the resolved experiment file and of what it and the cells name: the arms'
        checkpoints, the profile, every file of the log. `code`: SHA-256 by package, of this project's and of
        the arms' own stores and models. `device`.

    Raises:
        TraceError: a log has no manifest that can be read.
    """
    every = (config, *cells)
    files = {CONFIG: hashlib.sha256(to_toml(config).encode()).hexdigest()}
    files |= {str(path): _digest(path) for path in _named_files(every)}
    code = {package: code_digest(package) for package in (*_OWN, *_plugins(every))}
    return {"files": files, "code": code, "device": device}


def changes(manifest: Mapping[str, Any]) -> list[str]:
    """What is not as it was when a folder was made, a line each; the experiment file and the device aside.

    Needs no configuration: with another release, or without its log, the file may no longer load.
    """
    began, recorded, current = manifest["inputs"], manifest.get("versions") or {}, versions()
    found = [_line(name, recorded.get(name), current.get(name)) for name in PACKAGES]
    for package, before in began.get("code", {}).items():
        found.append(_line(f"code of {package}", _short(before), _short(code_digest(package))))
    for path, before in began["files"].items():
        if path != CONFIG:
            found.append(_line(path, _short(before), _short(_digest(Path(path)))))
    return [line for line in found if line is not None]


def device_changes(manifest: Mapping[str, Any], config: ExperimentConfig) -> list[str]:
    """As `changes`, for the device and, where service times are measured, for the machine.

    Raises:
        DeviceError: the device is absent.
    """
    device = str(resolve_device(config.experiment.device))
    found = [_line("device", manifest["inputs"]["device"], device)]
    if config.experiment.service_times == "live":
        # Arms measured on two machines could not be compared. A profile's times are the same everywhere.
        before, now = manifest.get("hardware") or {}, hardware(device)
        found += [_line(name, before.get(name), now[name]) for name in ("cpu", "cores", "gpu")]
    return [line for line in found if line is not None]


def code_digest(package: str) -> str:
    """SHA-256 over the names and contents of a package's Python files; "missing" where there is none.

    A release's number stays the same while a checkout is edited, and a commit changes with a comment in a
    page: what was imported is what counts.
    """
    spec = find_spec(package)
    if spec is None:
        return _MISSING
    sources: list[tuple[str, Path]] = []
    for folder in map(Path, spec.submodule_search_locations or ()):
        sources += [(path.relative_to(folder).as_posix(), path) for path in folder.rglob("*.py")]
    if not sources and spec.origin is not None:  # a module of one file
        sources = [(Path(spec.origin).name, Path(spec.origin))]
    digest = hashlib.sha256()
    for name, path in sorted(sources):
        digest.update(f"{name}\0{_digest(path)}\n".encode())
    return digest.hexdigest()


def _named_files(configs: Sequence[ExperimentConfig]) -> list[Path]:
    """The files that experiments read besides their own, each once."""
    found: dict[Path, None] = {}
    logs: dict[str, None] = {}
    for config in configs:
        arms = config.arms.values()
        found |= dict.fromkeys(Path(arm.checkpoint) for arm in arms if arm.checkpoint is not None)
        if config.experiment.service_times == "profile":
            found[config.experiment.profile_path] = None
        if config.traffic.arrivals is not None:
            found[Path(config.traffic.arrivals.file)] = None
        if config.market.bids is not None:
            found[Path(config.market.bids.file)] = None
        if config.traffic.log is not None:
            logs[config.traffic.log] = None
    return [*found, *(path for log in logs for path in table_paths(Path(log), read_manifest(Path(log))))]


def _plugins(configs: Sequence[ExperimentConfig]) -> list[str]:
    """The top-level packages of the arms' own stores and models, each once."""
    named: dict[tuple[str, str], None] = {}
    for arm in (arm for config in configs for arm in config.arms.values()):
        named[STORE_ENTRY_POINTS, arm.store] = None
        named |= dict.fromkeys((MODEL_ENTRY_POINTS, model) for model in (arm.model, arm.light_model))
    found: list[str] = []
    for group, name in named:
        targets = [name] if ":" in name else [point.value for point in entry_points(group=group, name=name)]
        found += [target.partition(":")[0].partition(".")[0] for target in targets]
    return [package for package in dict.fromkeys(found) if package not in _OWN]


def _digest(path: Path) -> str:
    # A missing one is refused where it is read, which says more about it.
    return file_digest(path) if path.is_file() else _MISSING


def _line(name: str, before: object, now: object) -> str | None:
    if before == now:
        return None
    return f"  {name}: {_or_none(before)} when it began, {_or_none(now)} now"


def _or_none(value: object) -> object:
    return "none" if value is None else value


def _short(digest: str) -> str:
    return digest if digest == _MISSING else f"SHA-256 {digest[:12]}"
