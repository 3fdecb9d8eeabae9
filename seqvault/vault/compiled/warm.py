"""Compiling all kernels before they are needed: when an image is built, or a read-only installation made.

`python -m seqvault.vault.compiled.warm` compiles into whatever folder keep.py chooses; `warm` chooses the
package's own, where every later user of the installation finds them.
"""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

from seqvault.errors import StoreError

__all__ = ["warm"]


def warm() -> Path:
    """Compile what is not compiled yet, for all users of this installation where its folder can be written.

    Returns:
        the folder that has them.

    Raises:
        StoreError: no folder can be written to, or compiled code does not do as its numpy twin.
    """
    from seqvault.vault.kernels.keep import kept_in, own_folder

    folder: Path | None = own_folder()
    try:
        own_folder().mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = kept_in()
    if folder is None:
        raise StoreError("no folder can be written to: set SEQVAULT_KERNELS to one that can")
    environment = {**os.environ, "SEQVAULT_KERNELS": str(folder.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "seqvault.vault.compiled.warm"],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise StoreError(f"compiling failed: {done.stderr[-500:]}; install numba and zstandard again")
    return folder


def _compile_all() -> bool:
    """Import every kernel, which compiles it, and compare them with their twins."""
    from seqvault.vault import kernels
    from seqvault.vault.compiled.selftest import encoder_trusted, trusted

    for module in pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}."):
        importlib.import_module(module.name)
    return trusted() and encoder_trusted()


if __name__ == "__main__":
    sys.exit(0 if _compile_all() else "compiled code differs from plain numpy")
