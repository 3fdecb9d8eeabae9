"""How kernels are compiled: each once, for one signature, kept on disk.

numba links whatever a function calls into it and optimises all of it again at every level, so that deep
kernels take a minute to compile. A function marked `symbol` is compiled by itself and called through its
address, as C would be; only the thin code between is linked. And numba recompiles a cached function when its
own file changed, not when a file it takes code or constants from did: here those count as well.
"""

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llvmlite.binding
from numba import njit, types
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature

__all__ = ["kernel", "symbol"]

# Nothing in a kernel may raise: where Python's division would, numpy's goes on.
_OPTIONS = {"nopython": True, "error_model": "numpy"}
_IMPORT = re.compile(r"^from (seqvault[.\w]*) import (\w*)", re.MULTILINE)
_alive: list[CFunc] = []


def kernel(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for callers in Python and in other kernels; it holds no lock of the interpreter."""

    def compile_for(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, error_model="numpy")(function)
        _cache(dispatcher, function)
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return compile_for


def symbol(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function of numbers and addresses for callers in other kernels, which do not link it."""

    def compile_for(function: Callable[..., Any]) -> Any:
        arguments, result = normalize_signature(signature)  # type: ignore[no-untyped-call]
        compiled = CFunc(function, (arguments, result), locals={}, options=_OPTIONS)
        _cache(compiled, function)
        compiled.compile()
        _alive.append(compiled)
        name = f"{function.__module__}.{function.__qualname__}"
        llvmlite.binding.add_symbol(name, compiled.address)
        return types.ExternalFunction(name, result(*arguments))

    return compile_for


def _cache(compiled: Any, function: Callable[..., Any]) -> None:
    """Keep what is compiled on disk, where a folder can be written."""
    try:
        compiled.enable_caching()
    except RuntimeError:
        return
    compiled._cache._cache_file._source_stamp = _digest(function.__module__)


@lru_cache
def _digest(module: str) -> str:
    """A digest of a module's source and of those it imports from this package, theirs included."""
    seen: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if name in seen or path is None:
            continue
        seen[name] = path.read_bytes()
        for package, member in _IMPORT.findall(seen[name].decode()):
            waiting += [package, f"{package}.{member}"]
    return hashlib.sha256(b"".join(seen[name] for name in sorted(seen))).hexdigest()


def _path(module: str) -> Path | None:
    """Where a module's source lies; None for what is no module."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)
