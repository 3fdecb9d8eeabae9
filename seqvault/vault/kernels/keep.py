"""Where compiled kernels are kept, so that a machine compiles them once: a folder a version of their source.

The first of these that has them, or else the first that can be written:

    $SEQVAULT_KERNELS         alone, where it is set
    the package's own         written by `laser-ab doctor --warm`: for images and read-only installations
    $XDG_CACHE_HOME/seqvault  or ~/.cache/seqvault
    TMPDIR/seqvault-UID       where there is no home that can be written to

Where none can, every process compiles anew, and says so. Kept code is loaded as it is: a folder of another
user is never used.
"""

import hashlib
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache

__all__ = ["Kept", "kept_in", "own_folder", "say_compiling"]

_log = logging.getLogger(__name__)
_IMPORT = re.compile(r"^from (seqvault[.\w]*) import (\w*)", re.MULTILINE)
_HERE = Path(__file__).parent
# Versions kept side by side: of several checkouts, or while old processes still run.
_VERSIONS = 8


def own_folder() -> Path:
    """The package's own folder of kernels."""
    return _HERE / "__pycache__" / _name()


@cache
def kept_in() -> Path | None:
    """The folder in use; None where no folder can be written to."""
    places = list(_places())
    for place in places:
        if place.is_dir() and _ours(place):
            return place
    for place in places:
        if place != own_folder() and _make(place):
            _forget(place)
            return place
    return None


def _places() -> Iterator[Path]:
    given = os.environ.get("SEQVAULT_KERNELS")
    if given:
        yield Path(given) / _name()
        return
    yield own_folder()
    home = os.environ.get("HOME")
    caches = os.environ.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
    if caches:
        yield Path(caches) / "seqvault" / _name()
    yield Path(tempfile.gettempdir()) / f"seqvault-{os.getuid()}" / _name()


def _make(place: Path) -> bool:
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.mkdir(exist_ok=True, mode=0o700)
    except OSError:
        return False
    return _ours(place) and os.access(place, os.W_OK)


def _ours(place: Path) -> bool:
    """Whether a folder, and the one that it is in, are this user's or the system's."""
    return all(folder.stat().st_uid in (0, os.getuid()) for folder in (place, place.parent))


def _forget(place: Path) -> None:
    """Remove all but the newest versions beside a new one."""
    versions = sorted(place.parent.glob("kernels-*"), key=lambda folder: folder.stat().st_mtime)
    for old in versions[:-_VERSIONS]:
        shutil.rmtree(old, ignore_errors=True)


@cache
def _name() -> str:
    """Says all that compiled code depends on; numba's index adds the processor."""
    tag = sys.implementation.cache_tag or ""
    return f"kernels-{tag}-numba{numba.__version__}-{_digest()}"


def _digest() -> str:
    """A digest of the kernels' sources and of what they import from this package, theirs included."""
    seen: dict[str, bytes] = {}
    waiting = [
        ".".join(("seqvault.vault.kernels", *path.relative_to(_HERE).with_suffix("").parts))
        for path in _HERE.rglob("*.py")
    ]
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if name in seen or path is None:
            continue
        seen[name] = path.read_bytes()
        for package, member in _IMPORT.findall(seen[name].decode()):
            waiting += [package, f"{package}.{member}"]
    return hashlib.sha256(b"".join(seen[name] for name in sorted(seen))).hexdigest()[:16]


def _path(module: str) -> Path | None:
    """Where a module of this package lies; None for what is no module. Without importing it."""
    place = _HERE.parents[2].joinpath(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@cache
def say_compiling() -> None:
    """Tell the user, once in a process, what takes so long."""
    place = kept_in()
    kept = "and is kept nowhere: no folder can be written to; see SEQVAULT_KERNELS in docs/storage.md"
    if place is not None:
        kept = f"and is kept in {place}" if os.access(place, os.W_OK) else f"for {place} lacks some of them"
    _log.warning("compiling SeqVault's kernels: this takes up to a minute, once, %s", kept)


class _Locator:
    """numba's question where a function's code is to be kept; the folder's name answers for its version."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._module = function.__module__

    @classmethod
    def from_function(cls, function: Callable[..., Any], _file: str) -> "_Locator | None":
        return None if kept_in() is None else cls(function)

    def get_cache_path(self) -> str:
        return str(kept_in())

    def get_source_stamp(self) -> str:
        return _name()

    def get_disambiguator(self) -> str:
        return self._module

    def ensure_cache_path(self) -> None:
        """It was made when it was chosen."""


class _Impl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # type: ignore[list-item]  # noqa: RUF012


class Kept(FunctionCache):
    """numba's cache of one function, in `kept_in`. Raises RuntimeError where that is None."""

    _impl_class = _Impl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function; None, said once in a process, where it is to be compiled."""
        found = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if found is None:
            say_compiling()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, where the folder can be written to."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            _log.debug("a kernel was not kept: %s", error)
