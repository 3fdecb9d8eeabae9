"""How kernels are compiled: each once, for one signature, kept on disk.

numba links whatever a function calls into it and optimises all of it again at every level, so that deep
kernels take a minute to compile. A function marked `symbol` is compiled by itself and called through its
address, as C would be; only the thin code between is linked. What is compiled is kept (keep.py).
"""

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from numba import njit, types
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature

from seqvault.vault.kernels.keep import Kept, say_compiling

__all__ = ["inner", "kernel", "symbol"]

# Nothing in a kernel may raise: where Python's division would, numpy's goes on.
_OPTIONS = {"nopython": True, "error_model": "numpy"}
_INNER: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy"}
_alive: list[CFunc] = []


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function for callers in other kernels alone, which link it: without a way in from Python."""
    return njit(**_INNER)(function)


def kernel(*signatures: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for callers in Python and in other kernels; without the interpreter's lock."""

    def compile_for(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, error_model="numpy")(function)
        _keep(dispatcher, function)
        for signature in signatures:
            dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return compile_for


def symbol(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function of numbers and addresses for callers in other kernels, which do not link it."""

    def compile_for(function: Callable[..., Any]) -> Any:
        arguments, result = normalize_signature(signature)  # type: ignore[no-untyped-call]
        compiled = CFunc(function, (arguments, result), locals={}, options=_OPTIONS)
        _keep(compiled, function)
        compiled.compile()
        _alive.append(compiled)
        name = f"{function.__module__}.{function.__qualname__}"
        llvmlite.binding.add_symbol(name, compiled.address)
        return types.ExternalFunction(name, result(*arguments))

    return compile_for


def _keep(compiled: Any, function: Callable[..., Any]) -> None:
    """Keep what is compiled on disk, where a folder can be written."""
    try:
        compiled._cache = Kept(function)  # type: ignore[no-untyped-call]
    except RuntimeError:
        say_compiling()
