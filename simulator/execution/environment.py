"""What ran and where: versions, hardware and commit, for manifests and profiles."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from laser.scoring.device import gpu_name
from simulator.serving.measure import this_machine

PACKAGES = (
    "laser-ab",
    "torch",
    "numpy",
    "scipy",
    "simpy",
    "rocksdict",
    "zstandard",
    "numba",
    "pyarrow",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a result depends on; absent packages are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: str = "cpu") -> dict[str, Any]:
    """cpu, cores (that this process may use), memory_gib, and the gpu that `device` means (null for none)."""
    return asdict(this_machine(gpu_name(device)))


@cache
def commit() -> str | None:
    """The checkout's commit, with "+" where files differ from it; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
